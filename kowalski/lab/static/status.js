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
        setTimeout(again, 5000);
      }
    };
  };
  const close = () => { if (stream) stream.close(); stream = null; };
  let paused = false;
  const again = async () => {
    if (stream || paused) return;
    try {
      const answer = await fetch(location.href, { redirect: "manual", headers: { Accept: "text/html" } });
      if (answer.type === "opaqueredirect") { location.reload(); return; }  // logged out: the page leads to the login
    } catch { /* the server is away: it may come back */ }
    if (!stream && !paused) open();
  };
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    if (paused) close(); else if (!stream) open();
    pause.textContent = paused ? "Go on" : "Pause";
  });
  open();
}
