// sections: most are folded on a phone, a link opens the one it leads to, and on paper all are open
(() => {
  const folds = [...document.querySelectorAll("main > section > details")];
  const FIRST = ["cost", "short", "cells"];
  if (matchMedia("(max-width: 46rem)").matches) {
    for (const fold of folds) fold.open = FIRST.includes(fold.parentNode.id);
  }
  function reveal(hash) {
    const target = hash.length > 1 && document.getElementById(hash.slice(1));
    if (!target) return;
    const inner = target.querySelector(":scope > details");
    if (inner) inner.open = true;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  }
  for (const link of document.querySelectorAll('a[href^="#"]')) link.addEventListener("click", () => reveal(link.hash));
  addEventListener("hashchange", () => reveal(location.hash));
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = folds.filter((fold) => !fold.open);
    for (const fold of closed) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of closed) fold.open = false; });
  reveal(location.hash);
})();
