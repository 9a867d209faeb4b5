(() => {
  const { value: to, dataset } = document.getElementById('to');
  const form = document.getElementById('form');
  const kept = form ? form.value : location.hash;
  const keep = () => sessionStorage.setItem(`vestibule-${dataset.login}`, kept);
  const ours = () => Object.keys(sessionStorage).filter((key) => key.startsWith('vestibule-'));
  try {
    if (kept) {
      try { keep(); } catch { ours().forEach((key) => sessionStorage.removeItem(key)); keep(); }
    }
  } catch {
    if (form) return;
  }
  location.replace(to);
})();
