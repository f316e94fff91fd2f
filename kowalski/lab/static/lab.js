"use strict";
// The theme: as the system has it, until it is chosen; the choice is kept where the server reads it, so that no page flashes.
{
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const shown = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const name = () => { button.textContent = shown() === "dark" ? "Light" : "Dark"; };
  const announce = () => { name(); document.dispatchEvent(new CustomEvent("themechange", { detail: shown() })); };
  button.hidden = false;
  name();
  button.addEventListener("click", () => {
    root.dataset.theme = shown() === "dark" ? "light" : "dark";
    document.cookie = `kowalski_theme=${root.dataset.theme}; path=/lab; max-age=31536000; samesite=lax`;
    announce();
  });
  dark.addEventListener("change", announce);

  // What scripts of other pages use: JSON from the lab, with the proof that the page asks for it.
  window.lab = {
    theme: shown,
    async ask(address, form, signal) {
      const headers = { Accept: "application/json" };
      if (form) headers["X-Kowalski-Proof"] = document.body.dataset.proof;
      const answer = await fetch(address, form ? { method: "POST", body: form, headers, signal } : { headers, signal });
      if (answer.status === 401) throw new Error("You are logged out: copy what you wrote, then load this page again.");
      const said = await answer.json();
      if (!answer.ok) throw new Error(said.message || answer.statusText);
      return said;
    },
  };
}
