"use strict";
// Every <figure class="plot" data-plot="ADDRESS"> gets the plot that is told there, in the colours of the theme, and again when that changes.
{
  const draw = async (figure) => {
    const address = new URL(figure.dataset.plot, location.href);
    address.searchParams.set("theme", window.lab.theme());
    const place = figure.querySelector("[data-place]") || figure;
    const turn = figure.turn = (figure.turn || 0) + 1;
    try {
      const item = await window.lab.ask(address);
      if (turn !== figure.turn) return;  // what was asked for later comes instead
      if (figure.views) {
        const drawn = figure.views.roots.map((view) => view.model.document);
        figure.views.clear();
        Bokeh.documents.splice(0, Infinity, ...Bokeh.documents.filter((each) => !drawn.includes(each)));  // it keeps all that it was ever given
      }
      place.replaceChildren();
      figure.views = await Bokeh.embed.embed_item(item, place);
      figure.dataset.drawn = window.lab.theme();
    } catch (error) {
      if (turn !== figure.turn) return;
      place.textContent = error.message;
      figure.dataset.drawn = "failed";
    }
  };
  const all = () => document.querySelectorAll("figure[data-plot]").forEach(draw);
  window.lab.draw = draw;
  all();
  document.addEventListener("themechange", all);
}
