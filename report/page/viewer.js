"use strict";
// The sample viewer: filters and pages the samples in the page. Every text goes through textContent, so that nothing
// in a prompt or an answer is markup.
(() => {
  const PAGE = 50;
  const data = JSON.parse(document.getElementById("samples-data").textContent);
  const form = document.getElementById("filters");
  const cards = document.getElementById("cards");
  const found = document.getElementById("found");
  const turns = [...document.querySelectorAll("[data-turn]")];
  let columns = data.columns.map((_, place) => place);
  let shown = data.prompts;
  let page = 0;

  const element = (name, style, text) => {
    const made = document.createElement(name);
    if (style) made.className = style;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const fill = (select, names, all) => {
    const kept = select.value;
    select.replaceChildren(...[...(all ? [""] : []), ...names].map((name) => {
      const option = element("option", "", name === "" ? "all" : name);
      option.value = name;
      return option;
    }));
    if (names.includes(kept)) select.value = kept;
  };
  const unique = (values) => [...new Set(values)];

  // Right and wrong of the answers that count, from the first checkpoint to the last.
  const marks = (prompt) => columns
    .map((place) => prompt.answers[place])
    .filter((answer) => answer && !answer.fault)
    .map((answer) => answer.correct);
  const changes = {
    gained: (all) => !all[0] && all[all.length - 1],
    lost: (all) => all[0] && !all[all.length - 1],
    right: (all) => all.every((one) => one),
    wrong: (all) => all.every((one) => !one),
    mixed: (all) => new Set(all).size > 1,
  };
  const says = (prompt, text) => [prompt.text, prompt.id, prompt.reference,
    ...prompt.answers.flatMap((answer) => (answer ? [answer.text, answer.read] : []))]
    .some((own) => own && own.toLowerCase().includes(text));

  const apply = () => {
    const run = form.elements.run.value;
    columns = data.columns.flatMap((column, place) => (!run || column.run === run ? [place] : []));
    const suite = form.elements.suite.value;
    const own = data.prompts.filter((prompt) => !suite || prompt.suite === suite);
    fill(form.elements.capability, unique(own.map((prompt) => prompt.capability)).sort(), true);
    const capability = form.elements.capability.value;
    const change = changes[form.elements.change.value];
    const text = form.elements.text.value.toLowerCase();
    shown = own.filter((prompt) => {
      const all = marks(prompt);
      return prompt.answers.some((answer, place) => answer && columns.includes(place))
        && (!capability || prompt.capability === capability)
        && (!change || (all.length > 0 && change(all)))
        && (!text || says(prompt, text));
    });
    page = 0;
    render();
  };

  const isCase = (prompt) => prompt.suite === data.case_suite;
  const markOf = (prompt, answer) => {
    if (answer.fault) return ["fault", `– ${answer.fault}`];
    if (isCase(prompt)) return answer.correct ? ["right", "✓ clean"] : ["wrong", "✗ shows it"];
    return answer.correct ? ["right", "✓ right"] : ["wrong", "✗ wrong"];
  };
  const block = (text, letters) => {
    const box = document.createDocumentFragment();
    const pre = element("pre");
    pre.dir = "auto";
    pre.append(element("bdi", "", text === "" ? "(empty)" : text));
    box.append(pre);
    if (letters) box.append(element("p", "", `Cut: ${letters.toLocaleString("en")} letters in all.`));
    return box;
  };
  const labelled = (name, text) => {
    const line = element("p", "", `${name}: `);
    line.append(element("bdi", "", text));
    return line;
  };

  const answerOf = (prompt, place) => {
    const box = element("div", "answer");
    const title = element("h4");
    title.append(element("bdi", "", data.columns[place].label));
    box.append(title);
    const answer = prompt.answers[place];
    if (!answer) {
      box.append(element("p", "", "not asked"));
      return box;
    }
    const [style, words] = markOf(prompt, answer);
    title.append(element("span", `mark ${style}`, words));
    box.append(block(answer.text, answer.letters));
    if (answer.finding) box.append(labelled("found", answer.finding));
    if (answer.read !== null && answer.read !== answer.text) box.append(labelled("read as", answer.read));
    const end = answer.finish === "length" ? ", cut off at the limit" : "";
    if (answer.tokens !== null) box.append(element("p", "", `${answer.tokens} tokens${end}`));
    return box;
  };
  const cardOf = (prompt) => {
    const card = element("article", "card");
    card.tabIndex = -1;
    const head = element("header");
    const about = element("p", "id");
    about.append(element("bdi", "", [prompt.suite, prompt.capability, prompt.part ? `${prompt.part} part` : "", prompt.id]
      .filter(Boolean).join(" · ")));
    head.append(about, prompt.text === null
      ? element("p", "id", "The text of this prompt was not found.") : block(prompt.text, prompt.letters));
    if (prompt.reference) {
      const line = labelled("Reference", prompt.reference);
      line.className = "reference";
      head.append(line);
    }
    const answers = element("div", "answers");
    answers.append(...columns.map((place) => answerOf(prompt, place)));
    card.append(head, answers);
    return card;
  };

  const render = () => {
    const first = page * PAGE;
    const some = shown.slice(first, first + PAGE);
    cards.replaceChildren(...some.map(cardOf));
    const number = (value) => value.toLocaleString("en");
    found.textContent = some.length
      ? `${number(first + 1)} to ${number(first + some.length)} of ${number(shown.length)}` : "No sample fits these filters.";
    for (const button of turns) {
      const next = page + Number(button.dataset.turn);
      button.disabled = next < 0 || next * PAGE >= shown.length;
    }
  };

  for (const button of turns) {
    button.addEventListener("click", () => {
      page += Number(button.dataset.turn);
      render();
      document.getElementById("viewer").scrollIntoView();
    });
  }
  let waiting = 0;
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(apply, event.target.name === "text" ? 150 : 0);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    const turn = { j: 1, k: -1 }[event.key];
    if (typing || !turn || event.ctrlKey || event.metaKey || event.altKey) return;
    const all = [...cards.children];
    const now = all.indexOf(document.activeElement);
    const next = all[Math.max(0, now + turn)];
    if (next) next.focus();
  });

  const runs = unique(data.columns.map((column) => column.run));
  fill(form.elements.run, runs, true);
  form.elements.run.closest("label").hidden = runs.length < 2;
  fill(form.elements.suite, unique(data.prompts.map((prompt) => prompt.suite)), true);
  document.getElementById("viewer").hidden = false;
  apply();
})();
