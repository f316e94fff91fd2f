"use strict";
// An object's page: the scale of its light curve, texts to copy, and an alert that is shown when it is chosen.
{
  const figure = document.querySelector("figure.curve");
  for (const choice of document.querySelectorAll("#scale input")) {
    choice.addEventListener("change", () => {
      const address = new URL(figure.dataset.plot, location.href);
      address.searchParams.set("y", choice.value);
      figure.dataset.plot = address.pathname + address.search;
      delete figure.dataset.drawn;
      window.lab.draw(figure);
    });
  }
  const again = document.querySelector("#scale input:checked");
  if (figure && again && again.value !== "mag") again.dispatchEvent(new Event("change"));

  if (navigator.clipboard) {
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
    }
  }
}
