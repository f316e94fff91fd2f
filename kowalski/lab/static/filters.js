"use strict";
// The editor of a filter: names are completed, what is typed is checked, and trials show what came of them without leaving the page.
{
  const PAUSE = 500; // ms without a key until what was typed is checked
  const form = document.getElementById("draft");
  const area = document.getElementById("pipeline");
  const check = document.getElementById("check");
  const progress = document.getElementById("progress");
  const result = document.getElementById("result");
  const cancel = document.getElementById("cancel");
  const data = () => new FormData(form);
  const show = (text, kind) => { check.textContent = text; check.className = kind; };

  // Names.
  let names = { fields: [], operators: [] }, lesson = 0;
  const learn = async () => {
    const mine = ++lesson;
    let learnt = { fields: [], operators: names.operators };
    try { learnt = await lab.ask("/lab/filters/fields", data()); } catch { /* there are none to complete */ }
    if (mine !== lesson) return;
    names = learnt;
    const numbers = names.fields.filter(([name, kind]) => /number|integer/.test(kind) && /^(candidate|classifications)\./.test(name));
    document.getElementById("numbers").replaceChildren(...numbers.map(([name]) => new Option("", name)));
  };
  const find = (word) => {
    const dollar = word.startsWith("$");
    const sought = word.replace(/^\$/, "").toLowerCase();
    const fits = ([name]) => name.toLowerCase().startsWith(sought) || name.toLowerCase().split(".").slice(1).some((part) => sought && part.startsWith(sought));
    const fields = names.fields.filter(fits).map(([name, kind]) => [dollar ? `$${name}` : name, kind]);
    const operators = dollar ? names.operators.filter((name) => name.toLowerCase().startsWith(word.toLowerCase())).map((name) => [name, "operator"]) : [];
    return [...operators, ...fields];
  };
  lab.complete(area, find);
  learn();
  area.addEventListener("focus", () => { if (!names.fields.length) learn(); });
  form.elements.catalog.addEventListener("change", learn);

  // The check, of the latest text only.
  let waiting, turn = 0;
  const place = (said) => said.line ? `Line ${said.line}, column ${said.column}: ` : said.stage ? `Stage ${said.stage}${said.path ? `, ${said.path}` : ""}: ` : "";
  const judge = async () => {
    const mine = ++turn;
    try {
      const said = await lab.ask("/lab/filters/check", data());
      if (mine !== turn) return;
      area.setAttribute("aria-invalid", String(!said.ok));
      const text = said.line ? said.message.replace(/^.*Error: /, "").replace(/: line \d+ column.*$/, "") : said.message;
      show(place(said) + text, said.ok ? "good" : "problem");
    } catch (error) {
      if (mine === turn) show(error.message, "problem");
    }
  };
  form.addEventListener("input", (event) => {
    if (["alert", "night", "field", "compared"].includes(event.target.name)) return;
    clearTimeout(waiting);
    waiting = setTimeout(judge, PAUSE);
  });
  judge();

  // Trials.
  let asking;
  const idle = () => { cancel.hidden = true; asking = undefined; };
  const ask = async (button) => {
    asking?.abort();
    const mine = asking = new AbortController();
    const told = data();
    result.replaceChildren();
    progress.className = "";
    progress.textContent = button.dataset.ask;
    cancel.hidden = false;
    try {
      if (button.dataset.count) {
        const { alerts } = await lab.ask(button.dataset.count, told, mine.signal);
        progress.textContent = `Replaying ${alerts.toLocaleString("en")} alerts of ${form.elements.night.value} …`;
      }
      const said = await lab.ask(button.getAttribute("formaction"), told, mine.signal);
      progress.textContent = "";
      result.innerHTML = said.html; // made by the server's templates, which escape
      result.querySelectorAll("figure[data-plot]").forEach(lab.draw);
      result.focus();
    } catch (error) {
      if (mine !== asking) return;
      progress.className = mine.signal.aborted ? "quiet" : "problem";
      progress.textContent = mine.signal.aborted ? "Cancelled." : error.message;
    }
    if (mine === asking) idle();
  };
  for (const button of form.querySelectorAll("[data-ask]")) {
    button.addEventListener("click", (event) => { event.preventDefault(); ask(button); });
  }
  document.getElementById("enter").addEventListener("click", (event) => {
    event.preventDefault();
    const own = document.activeElement.closest("fieldset")?.querySelector("[data-ask]");
    if (own) ask(own);
  });
  cancel.addEventListener("click", () => asking?.abort());
  result.addEventListener("click", (event) => {
    const button = event.target.closest("[data-explain]");
    if (!button) return;
    event.preventDefault();
    form.querySelector("input[name=alert]").value = button.value;
    ask(form.querySelector('[formaction$="/explain"][data-ask]'));
  });
}
