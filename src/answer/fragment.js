(() => {
  const { value: to, dataset } = document.getElementById('to');
  const key = `vestibule-${dataset.login}`;
  let kept;
  try { kept = sessionStorage.getItem(key); sessionStorage.removeItem(key); } catch {}
  location.replace(kept?.startsWith('#') ? to + kept : to);
})();
