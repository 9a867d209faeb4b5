(() => {
  const type = 'vestibule:logged-in';
  try { new BroadcastChannel('vestibule').postMessage({ type }); } catch {}
  try { window.opener?.postMessage({ type }, location.origin); } catch {}
  window.close();
})();
