"use strict";
// Keeps the page as things stand: puts each part that has changed in its place, unless somebody is in it with the keyboard or has stopped the page.
{
  const live = document.getElementById("live");
  const pause = document.getElementById("pause");
  const at = document.getElementById("at");
  let stream = null;
  const put = (name, html) => {
    const section = document.getElementById(`part-${name}`);
    const inside = section.contains(document.activeElement) || (getSelection().rangeCount && !getSelection().isCollapsed && section.contains(getSelection().anchorNode));
    if (inside) { section.dataset.later = html; return; }
    const scrolled = [...section.querySelectorAll(".wide")].map((each) => each.scrollLeft);
    section.innerHTML = html;
    section.querySelectorAll(".wide").forEach((each, place) => { each.scrollLeft = scrolled[place] || 0; });
    delete section.dataset.later;
  };
  const open = () => {
    stream = new EventSource(live.dataset.events);
    stream.onmessage = (event) => {
      const said = JSON.parse(event.data);
      at.textContent = said.at;
      live.dataset.beats = 1 + Number(live.dataset.beats || 0);
      live.classList.remove("problem");
      const throughput = document.getElementById("throughput");
      if (throughput && live.dataset.beats % 15 === 0) window.lab.draw(throughput);
      for (const section of document.querySelectorAll("[data-later]")) put(section.dataset.part, section.dataset.later);
      for (const [name, html] of Object.entries(said.parts)) put(name, html);
    };
    stream.onerror = () => {
      live.classList.add("problem");
      if (stream && stream.readyState === EventSource.CLOSED) {  // not by us: the server had something else to say
        close();
        setTimeout(() => { if (!stream && pause.textContent === "Pause") open(); }, 5000);
      }
    };
  };
  const close = () => { stream.close(); stream = null; };
  pause.hidden = false;
  pause.addEventListener("click", () => {
    if (stream) close(); else open();
    pause.textContent = stream ? "Pause" : "Go on";
  });
  open();
}
