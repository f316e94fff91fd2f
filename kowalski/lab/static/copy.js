"use strict";
// Every <button data-copy="ID"> copies the text of that element.
for (const button of document.querySelectorAll("[data-copy]")) {
  const named = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    } catch { // no HTTPS, or not allowed: the text is at least marked
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = named; }, 2000);
  });
}
