"use strict";

// Connects to the program, asks for pictures while somebody looks, and shows what the messages say.

const RETRY_MS = { first: 300, longest: 3000 };
const SILENT_MS = 2500; // the program sends at least two messages a second
const LIGHT_WORDS = { green: "good", amber: "take care", red: "do not trust" };
const STATES = { "no pictures": "stream lost" };

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
      showConnection("connected", false);
      this.ask();
    };
    this.socket.onmessage = (event) => {
      this.heardMs = performance.now();
      if (typeof event.data === "string") showMessage(JSON.parse(event.data));
      else this.receivePicture(event.data);
    };
    this.socket.onclose = () => {
      showLost();
      setTimeout(() => this.open(), this.retryMs);
      this.retryMs = Math.min(2 * this.retryMs, RETRY_MS.longest);
    };
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
      showConnection("connected, but the program is silent", true);
      picture.classList.add("stale");
    }
  }
}

function showConnection(text, lost) {
  const place = element("connection");
  if (place.textContent !== text) place.textContent = text;
  place.dataset.lost = lost;
}

function showLost() {
  showConnection("no connection to the program, trying again", true);
  picture.classList.add("stale");
  showHealth("none", "unknown", "");
  showState("no connection");
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
  const reasons = cameras.filter((camera) => camera.state !== "running" && camera.reason).map((camera) => camera.reason);
  const state = STATES[tracking] || tracking;
  return tracking === "no pictures" && reasons.length ? `${state}: ${reasons.join("; ")}` : state;
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
    return [
      node("td", camera.name),
      node("td", running || !camera.reason ? camera.state : `${camera.state}: ${camera.reason}`, running ? "" : "bad"),
      node("td", number(camera.rate_hz, 1), "number"),
      node("td", camera.jitter_ms == null ? "-" : `${number(camera.jitter_ms, 1)} ms`, "number"),
      node("td", String(camera.frames_damaged), "number"),
      node("td", camera.losses === 1 ? "once" : camera.losses ? `${camera.losses} times` : "never", "number"),
    ];
  });
  fill("cameras", rows);
}

function showStages(stages) {
  fill("stages", Object.entries(stages).map(([name, duration]) => [node("td", name), node("td", number(duration, 1), "number")]));
}

function fill(table, rows) {
  element(table).hidden = !rows.length;
  element(table).tBodies[0].replaceChildren(
    ...rows.map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells);
      return row;
    }),
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
  scene.draw();
});
element("show-sigma").addEventListener("change", (event) => {
  scene.showSigma = event.target.checked;
  scene.draw();
});
element("reset-view").addEventListener("click", () => scene.reset());
new Connection();
