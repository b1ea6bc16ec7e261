"use strict";

// The person in space, drawn on a canvas: a floor with metres, bones by depth, turned by pointer, wheel and keys.
// Inside: x right, y up, z towards the viewer, metres.

const SIDE_COLOURS = { "-1": "#e69f00", 0: "#f0f0f0", 1: "#56b4e9" };
const OUTLINE = "#0e1012";
const FULL_CONFIDENCE = 0.6;
const GRID_STEP_M = 0.5;
const HOME = { yaw: -0.45, elevation: 0.21, zoom: 1 };

class Scene {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.skeleton = null;
    this.person = null;
    this.showRaw = this.showSigma = false;
    this.target = null; // middle of the person on the floor, and its size; follows smoothly
    this.eye = { ...HOME };
    this.pending = false;
    this.listen();
  }

  listen() {
    const drags = new Map();
    this.canvas.addEventListener("pointerdown", (event) => {
      drags.set(event.pointerId, event);
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const before = drags.get(event.pointerId);
      if (!before) return;
      this.turn((before.clientX - event.clientX) * 0.008, (event.clientY - before.clientY) * 0.006);
      drags.set(event.pointerId, event);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(end, (event) => drags.delete(event.pointerId));
    }
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.approach(Math.exp(-event.deltaY * 0.001));
    }, { passive: false });
    const keys = {
      ArrowLeft: () => this.turn(0.1, 0),
      ArrowRight: () => this.turn(-0.1, 0),
      ArrowUp: () => this.turn(0, 0.08),
      ArrowDown: () => this.turn(0, -0.08),
      "+": () => this.approach(1.15),
      "-": () => this.approach(1 / 1.15),
      0: () => this.reset(),
    };
    this.canvas.addEventListener("keydown", (event) => {
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  turn(yaw, elevation) {
    this.eye.yaw += yaw;
    this.eye.elevation = Math.min(1.55, Math.max(-0.3, this.eye.elevation + elevation));
    this.draw();
  }

  approach(factor) {
    this.eye.zoom = Math.min(5, Math.max(0.3, this.eye.zoom * factor));
    this.draw();
  }

  reset() {
    this.eye = { ...HOME };
    this.draw();
  }

  // message: as docs/streaming.md describes it.
  update(message) {
    const turned = message.up === "z" ? ([x, y, z]) => [x, z, -y] : ([x, y, z]) => [x, -y, -z];
    const place = (rows) => rows.map((row) => row && turned(row));
    const points = place(message.points_m);
    const known = points.filter(Boolean);
    this.person = known.length
      ? {
          points,
          raw: message.raw_points_m ? place(message.raw_points_m) : [],
          sigma: message.sigma_m.map((row) => row && turned(row).map(Math.abs)),
          confidence: message.confidence,
        }
      : null;
    if (known.length > 3) this.follow(known, message.timestamp_s);
    this.draw();
  }

  follow(known, now) {
    const low = [0, 1, 2].map((axis) => Math.min(...known.map((point) => point[axis])));
    const high = [0, 1, 2].map((axis) => Math.max(...known.map((point) => point[axis])));
    const seen = {
      x: (low[0] + high[0]) / 2,
      z: (low[2] + high[2]) / 2,
      floor: low[1],
      size: Math.max(0.8, ...high.map((value, axis) => value - low[axis])),
    };
    const elapsed = now - this.followed;
    this.followed = now;
    const old = this.target;
    if (!old || !(elapsed >= 0 && elapsed < 2) || Math.hypot(seen.x - old.x, seen.z - old.z) > 1.5) {
      this.target = seen;
      return;
    }
    // A foot that is lifted does not lift the floor, and a crouch does not bring the viewer nearer, unless it lasts.
    const towards = (key, settles) => old[key] + (seen[key] - old[key]) * (1 - Math.exp(-elapsed / settles));
    this.target = {
      x: towards("x", 0.5),
      z: towards("z", 0.5),
      floor: towards("floor", seen.floor < old.floor ? 0.7 : 6),
      size: towards("size", seen.size > old.size ? 0.7 : 6),
    };
  }

  draw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.paint();
    });
  }

  paint() {
    const { canvas, context } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.lineCap = context.lineJoin = "round";
    const target = this.target || { x: 0, z: -3, floor: -1, size: 1.8 };
    const project = this.projection(target, width, height);
    this.paintFloor(project, target);
    if (!this.person || !this.skeleton) return;
    this.paintShadow(project, target);
    this.paintPerson(project);
    if (this.showRaw) this.paintRaw(project);
    if (this.showSigma) this.paintSigma(project);
  }

  // From metres to [x, y, pixels per metre] on the canvas; null for what lies behind the viewer.
  projection(target, width, height) {
    const { yaw, elevation, zoom } = this.eye;
    const [sinYaw, cosYaw, sinUp, cosUp] = [Math.sin(yaw), Math.cos(yaw), Math.sin(elevation), Math.cos(elevation)];
    const distance = 3 * target.size;
    const scale = (Math.min(height / 1.35, width / 1.15) / target.size) * zoom;
    return ([pointX, pointY, pointZ]) => {
      const [x, y, z] = [pointX - target.x, pointY - target.floor - 0.48 * target.size, pointZ - target.z];
      const across = x * cosYaw - z * sinYaw;
      const along = x * sinYaw + z * cosYaw;
      const up = y * cosUp - along * sinUp;
      const nearness = 1 - (along * cosUp + y * sinUp) / distance;
      if (nearness < 0.1) return null;
      const here = scale / nearness;
      return [width / 2 + across * here, height / 2 - up * here, here];
    };
  }

  paintFloor(project, target) {
    const radius = 0.9 * target.size;
    const lines = (middle) => {
      const first = Math.ceil((middle - radius) / GRID_STEP_M);
      const last = Math.floor((middle + radius) / GRID_STEP_M);
      return Array.from({ length: last - first + 1 }, (_, step) => (first + step) * GRID_STEP_M);
    };
    const segment = (from, to, middle, whole) => {
      const [start, end] = [project(from), project(to)];
      if (!start || !end) return;
      const share = 1 - Math.hypot(middle[0] - target.x, middle[1] - target.z) / radius;
      if (share <= 0) return;
      this.context.globalAlpha = Math.min(1, 1.6 * share);
      this.line(start, end, whole ? "#69737e" : "#3b434b", 1);
    };
    for (const x of lines(target.x)) {
      for (const z of lines(target.z)) {
        const [nextX, nextZ] = [x + GRID_STEP_M, z + GRID_STEP_M];
        const at = (atX, atZ) => [atX, target.floor, atZ];
        segment(at(x, z), at(nextX, z), [x + GRID_STEP_M / 2, z], Number.isInteger(z));
        segment(at(x, z), at(x, nextZ), [x, z + GRID_STEP_M / 2], Number.isInteger(x));
      }
    }
    this.context.globalAlpha = 1;
  }

  paintShadow(project, target) {
    const onFloor = this.person.points.map((point) => point && project([point[0], target.floor, point[2]]));
    this.context.globalAlpha = 0.55;
    for (const [child, parent] of this.skeleton.bones) {
      if (onFloor[child] && onFloor[parent]) {
        this.line(onFloor[child], onFloor[parent], "#000", Math.max(2, 0.045 * onFloor[child][2]));
      }
    }
    this.context.globalAlpha = 1;
  }

  paintRaw(project) {
    const points = this.person.raw.map((point) => point && project(point));
    for (const [child, parent] of this.skeleton.bones) {
      if (points[child] && points[parent]) this.line(points[child], points[parent], "#cc79a7", 1.5);
    }
  }

  // One standard deviation to either side, along the axes of the frame.
  paintSigma(project) {
    this.person.points.forEach((point, joint) => {
      const sigma = this.person.sigma[joint];
      if (!point || !sigma) return;
      for (const axis of [0, 1, 2]) {
        const ends = [-1, 1].map((sign) => project(point.map((value, each) => value + (each === axis ? sign * sigma[axis] : 0))));
        if (ends[0] && ends[1]) this.line(ends[0], ends[1], "#f0e442", 1.5);
      }
    });
  }

  paintPerson(project) {
    const { bones, sides } = this.skeleton;
    const points = this.person.points.map((point) => point && project(point));
    const visible = bones.filter(([child, parent]) => points[child] && points[parent]);
    visible.sort((one, other) => points[one[0]][2] + points[one[1]][2] - points[other[0]][2] - points[other[1]][2]);
    for (const [child, parent] of visible) {
      const [start, end] = [points[parent], points[child]];
      const trust = Math.min(this.person.confidence[child], this.person.confidence[parent]);
      const width = Math.min(12, Math.max(2.5, 0.012 * (start[2] + end[2])));
      const dash = trust > 0 ? [] : [2.2 * width, 2 * width];
      this.context.globalAlpha = trust > 0 ? 0.35 + 0.65 * Math.min(1, trust / FULL_CONFIDENCE) : 0.85;
      this.line(start, end, OUTLINE, width + 3, dash);
      this.line(start, end, SIDE_COLOURS[Math.sign(sides[child] + sides[parent])], width, dash);
    }
    this.context.globalAlpha = 1;
    points.forEach((point, joint) => {
      if (!point || !(this.person.confidence[joint] > 0)) return;
      this.dot(point, Math.min(6, Math.max(2, 0.016 * point[2])), SIDE_COLOURS[sides[joint]]);
    });
  }

  line(start, end, colour, width, dash = []) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(start[0], start[1]);
    context.lineTo(end[0], end[1]);
    context.stroke();
  }

  dot(point, radius, colour) {
    const { context } = this;
    context.setLineDash([]);
    context.fillStyle = colour;
    context.strokeStyle = OUTLINE;
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(point[0], point[1], radius, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}
