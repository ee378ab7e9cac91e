"use strict";
// light or dark: the system's choice until the reader makes one
(() => {
  const button = document.getElementById("theme");
  if (!button) return;
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => { try { return localStorage.getItem("polyswe-theme"); } catch { return null; } };
  const show = () => {
    const dark = (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
    button.textContent = dark ? "light" : "dark";
    button.setAttribute("aria-label", `Switch to the ${dark ? "light" : "dark"} theme`);
  };
  if (["light", "dark"].includes(kept())) root.dataset.theme = kept();
  button.addEventListener("click", () => {
    root.dataset.theme = button.textContent;
    try { localStorage.setItem("polyswe-theme", root.dataset.theme); } catch { /* a file opened without storage */ }
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
})();
