"use strict";

// Connects to the program, asks for pictures while somebody looks, and shows what the messages say.

const RETRY_MS = { first: 300, longest: 3000 };
const SILENT_MS = 2500; // the program sends at least two messages a second
const LIGHT_WORDS = { green: "good", amber: "check", red: "bad" }; // as in the window

const element = (id) => document.getElementById(id);
const scene = new Scene(element("scene"));
const picture = element("picture");

class Connection {
  constructor() {
    this.retryMs = RETRY_MS.first;
    this.asked = false;
    this.heardMs = 0;
    this.open();
    setInterval(() => this.notice(), 500);
    document.addEventListener("visibilitychange", () => this.ask());
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/stream`);
    this.socket.binaryType = "blob";
    this.socket.onopen = () => {
      this.retryMs = RETRY_MS.first;
      this.heardMs = performance.now();
      this.asked = false;
      showConnection("connected, waiting for the program", false);
      this.ask();
    };
    this.socket.onmessage = (event) => {
      this.heardMs = performance.now();
      if (typeof event.data === "string") showMessage(JSON.parse(event.data));
      else this.receivePicture(event.data);
    };
    this.socket.onclose = () => {
      showLost("no connection to the program, trying again");
      this.reloadIfRefused();
      setTimeout(() => this.open(), this.retryMs);
      this.retryMs = Math.min(2 * this.retryMs, RETRY_MS.longest);
    };
  }

  // After a restart with another token the page has to be asked for again.
  async reloadIfRefused() {
    try {
      const answer = await fetch("/", { cache: "no-store" });
      if (answer.status === 401) location.reload();
    } catch {
      // Nobody is there; the next try follows.
    }
  }

  // One picture at a time, and none while the page is hidden: the program draws only what is looked at.
  ask() {
    if (this.asked || document.hidden || this.socket.readyState !== WebSocket.OPEN) return;
    this.asked = true;
    this.socket.send("picture");
  }

  async receivePicture(blob) {
    const address = URL.createObjectURL(blob);
    const before = picture.src;
    picture.src = address;
    try {
      await picture.decode();
      picture.hidden = false;
      element("picture-note").textContent = "";
    } catch {
      element("picture-note").textContent = "the picture is damaged";
    }
    if (before) URL.revokeObjectURL(before);
    this.asked = false;
    this.ask();
  }

  // A connection that stays open in silence is as lost as a closed one.
  notice() {
    if (this.socket.readyState === WebSocket.OPEN && performance.now() - this.heardMs > SILENT_MS) {
      showLost("connected, but the program is silent");
    }
  }
}

function showConnection(text, lost) {
  write("connection", text);
  document.body.classList.toggle("lost", lost);
  if (lost) picture.classList.add("stale");
}

// What was shown last stays, dimmed: it may be what one was looking for.
function showLost(text) {
  showConnection(text, true);
  showHealth("none", "unknown", "");
  showState("no connection");
  showMarks({ refined: true, filtered: true });
}

function showMessage(message) {
  if (message.type === "binopose.skeleton") {
    scene.skeleton = message;
    return;
  }
  if (message.type !== "binopose.pose") return;
  showConnection("connected", false);
  const figures = message.figures;
  const lost = message.tracking === "no pictures";
  picture.classList.toggle("stale", lost);
  showHealth(message.health.light, LIGHT_WORDS[message.health.light], message.health.reason);
  showState(message.tracking === "tracking" ? "" : stateText(message.tracking, figures.cameras));
  showMarks(figures);
  showFigures(figures);
  showCameras(figures.cameras);
  showStages(figures.stage_ms);
  element("frame").textContent = `Coordinates: ${message.frame_of_reference}.`;
  scene.update(message);
}

function stateText(tracking, cameras) {
  const lost = cameras.filter((camera) => camera.state !== "running");
  if (tracking !== "no pictures" || !lost.length) return tracking;
  return `stream lost: ${lost.map((camera) => camera.reason || camera.name).join("; ")}`;
}

// Texts that did not change are left alone, so that screen readers do not repeat them.
function write(id, text) {
  const place = element(id);
  if (place.textContent !== text) place.textContent = text;
}

function showHealth(light, word, reason) {
  if (element("health").dataset.light !== light) {
    element("health").dataset.light = light;
    element("light-shape").setAttribute("href", `#${light}`);
  }
  write("light-word", word);
  write("light-reason", reason);
}

function showState(text) {
  write("state", text);
  element("state").hidden = !text;
  const label = text ? `The person in space: ${text}` : "The person in space, tracked";
  if (scene.canvas.getAttribute("aria-label") !== label) scene.canvas.setAttribute("aria-label", label);
}

function showMarks(figures) {
  const marks = [
    figures.recording && ["recording", "● recording"],
    figures.paused && ["paused", "paused"],
    !figures.refined && ["off", "refinement off"],
    !figures.filtered && ["off", "filter off"],
  ].filter(Boolean);
  const key = marks.map(([, text]) => text).join();
  const place = element("marks");
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren(...marks.map(([kind, text]) => node("span", text, kind)));
}

function showFigures(figures) {
  write("rate", number(figures.rate_hz, 1));
  write("latency", number(figures.latency_ms, 0));
  write("skew", figures.skew_ms == null ? "-" : `${number(figures.skew_ms, 1)} ± ${number(figures.skew_sd_ms, 1)}`);
  write("offset", number(figures.time_offset_ms, 1));
  write("unseen", number(figures.pairs_unseen, 0));
  write("unseen-share", figures.pairs ? `of ${figures.pairs}` : "");
  write("unpaired", figures.unpaired ? figures.unpaired.join(" / ") : "-");
}

function showCameras(cameras) {
  const rows = cameras.map((camera) => {
    const running = camera.state === "running";
    const row = document.createElement("tr");
    row.append(
      node("td", camera.name),
      node("td", camera.reason || camera.state, running ? "" : "bad"),
      node("td", number(camera.rate_hz, 1), "number"),
      node("td", camera.jitter_ms == null ? "-" : `${number(camera.jitter_ms, 1)} ms`, "number"),
      node("td", String(camera.frames_damaged), "number"),
      node("td", camera.losses === 1 ? "once" : camera.losses ? `${camera.losses} times` : "never", "number"),
    );
    return row;
  });
  element("cameras").hidden = !rows.length;
  element("cameras").tBodies[0].replaceChildren(...rows);
}

function showStages(stages) {
  const table = element("stages");
  table.hidden = !Object.keys(stages).length;
  table.tHead.rows[0].replaceChildren(...Object.keys(stages).map((name) => node("th", name, "number")));
  table.tBodies[0].rows[0].replaceChildren(
    ...Object.values(stages).map((duration) => node("td", number(duration, 1), "number")),
  );
}

function node(kind, text, className = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = className;
  return made;
}

function number(value, digits) {
  return value == null ? "-" : value.toFixed(digits);
}

element("show-raw").addEventListener("change", (event) => {
  scene.showRaw = event.target.checked;
  element("raw-legend").hidden = !scene.showRaw;
  scene.draw();
});
element("show-sigma").addEventListener("change", (event) => {
  scene.showSigma = event.target.checked;
  element("sigma-legend").hidden = !scene.showSigma;
  scene.draw();
});
element("reset-view").addEventListener("click", () => scene.reset());
new Connection();
