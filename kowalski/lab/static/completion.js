"use strict";
// A text area with data-complete offers names as one types them: window.lab.complete(area, find), where find(word) gives [name, kind] pairs.
// The keys: arrows choose, Enter or a click takes, Escape closes, Ctrl+Space opens. Tab always leaves the area.
{
  const MOST = 10; // so that none need be scrolled to
  const WORD = /[$\w.]*$/;

  window.lab.complete = (area, find) => {
    const list = document.createElement("ul");
    const count = document.createElement("span");
    list.id = `${area.id}-options`;
    list.className = "options";
    list.hidden = true;
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Names");
    count.className = "hidden";
    count.setAttribute("role", "status");
    area.after(list, count);
    area.setAttribute("aria-autocomplete", "list");
    area.setAttribute("aria-controls", list.id);
    let at = -1;

    const word = () => area.value.slice(0, area.selectionStart).match(WORD)[0];

    const close = () => {
      list.hidden = true;
      at = -1;
      area.removeAttribute("aria-activedescendant");
      count.textContent = "";
    };

    const choose = (place) => {
      list.children[at]?.setAttribute("aria-selected", "false");
      at = (place + list.children.length) % list.children.length;
      list.children[at].setAttribute("aria-selected", "true");
      area.setAttribute("aria-activedescendant", list.children[at].id);
    };

    const take = (option) => {
      const end = area.selectionStart;
      area.setRangeText(option.dataset.name, end - word().length, end, "end");
      close();
      area.focus();
      area.dispatchEvent(new Event("input", { bubbles: true }));
      close();
    };

    // Under the word: lines don't wrap and letters are all as wide.
    const place = (begun) => {
      const style = getComputedStyle(area);
      const before = area.value.slice(0, area.selectionStart).split("\n");
      const pen = document.createElement("canvas").getContext("2d");
      pen.font = `${style.fontSize} ${style.fontFamily}`;
      const height = parseFloat(style.lineHeight);
      const top = area.offsetTop + parseFloat(style.paddingTop) + before.length * height - area.scrollTop + 4;
      const left = parseFloat(style.paddingLeft) + (before.at(-1).length - begun.length) * pen.measureText("0").width - area.scrollLeft;
      list.style.top = `${Math.min(top, area.offsetTop + area.offsetHeight)}px`;
      list.style.left = `${Math.max(0, Math.min(left, area.offsetWidth - list.offsetWidth))}px`;
    };

    const open = (asked) => {
      const begun = word();
      const found = begun.length > 1 || asked ? find(begun).slice(0, MOST) : [];
      if (!found.length || (found.length === 1 && found[0][0] === begun)) return close();
      list.replaceChildren(...found.map(([name, kind], number) => {
        const option = document.createElement("li");
        const about = document.createElement("span");
        option.id = `${list.id}-${number}`;
        option.dataset.name = name;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        option.textContent = name;
        about.textContent = kind;
        option.append(about);
        return option;
      }));
      at = -1;
      area.removeAttribute("aria-activedescendant");
      list.hidden = false;
      count.textContent = `${found.length} names`;
      place(begun);
    };

    area.addEventListener("input", () => open(false));
    area.addEventListener("blur", close);
    area.addEventListener("click", close);
    list.addEventListener("mousedown", (event) => {
      event.preventDefault(); // the area keeps the focus
      const option = event.target.closest("li");
      if (option) take(option);
    });
    area.addEventListener("keydown", (event) => {
      if (event.ctrlKey && event.key === " ") { event.preventDefault(); return open(true); }
      if (list.hidden) return;
      const keys = {
        ArrowDown: () => choose(at + 1),
        ArrowUp: () => choose(at < 0 ? list.children.length - 1 : at - 1),
        Escape: close,
        ...(at >= 0 ? { Enter: () => take(list.children[at]) } : {}),
      };
      if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
      else if (["ArrowLeft", "ArrowRight", "Home", "End", "Enter"].includes(event.key)) close();
    });
  };
}
