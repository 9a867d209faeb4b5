(() => {
  const kept = document.getElementById('kept');
  const key = `vestibule-${kept.dataset.login}`;
  try { kept.value = sessionStorage.getItem(key); sessionStorage.removeItem(key); } catch {}
  if (kept.value) kept.form.submit();
})();
