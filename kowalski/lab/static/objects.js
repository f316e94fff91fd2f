"use strict";
// An object's page: the scale of its light curve.
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
}
