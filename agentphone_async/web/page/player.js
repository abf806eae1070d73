// Audio, its waveform, and the transcript that follows along.
const $ = (id) => document.getElementById(id);
const audio = $("audio"), wave = $("wave");
let channels = [], turns = [], expected = 0, current = -1, latest = 0;

export const clock = (seconds) => {
  const whole = Math.max(0, Math.round(seconds || 0));
  const rest = String(whole % 60).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}:${rest}`
    : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
};

const length = () => Number.isFinite(audio.duration) ? audio.duration : expected;

export async function load(call) {
  const mine = ++latest;
  audio.pause();
  channels = [];
  current = -1;
  expected = call.seconds || 0;
  turns = [...$("turns").querySelectorAll("li[data-at]")];
  const there = call.has_audio;
  for (const id of ["wave", "play", "clock"]) $(id).hidden = !there;
  document.querySelector(".speed").hidden = !there;
  $("silence").hidden = there;
  if (!there) {
    audio.removeAttribute("src");
    audio.load();
    return;
  }
  audio.src = `/api/calls/${call.id}/audio`;
  audio.playbackRate = Number($("speed").value);
  tick();
  try {
    const answer = await fetch(`/api/calls/${call.id}/peaks`);
    const found = answer.ok ? (await answer.json()).channels : [];
    if (mine !== latest) return;
    channels = found;
    draw();
  } catch { /* the recording can be heard without its picture */ }
}

export function toggle() {
  if (!audio.src || !audio.hasAttribute("src")) return;
  if (audio.paused) audio.play().catch(() => {}); else audio.pause();
}

export function seek(seconds) {
  if (!audio.hasAttribute("src")) return;
  audio.currentTime = Math.min(Math.max(0, seconds), Math.max(0, length() - 0.01));
  tick();
}

export const skip = (seconds) => seek(audio.currentTime + seconds);

export function faster(steps) {
  const speed = $("speed");
  speed.selectedIndex = Math.min(Math.max(0, speed.selectedIndex + steps), speed.options.length - 1);
  audio.playbackRate = Number(speed.value);
}

function draw() {
  const scale = window.devicePixelRatio || 1;
  const width = wave.clientWidth, height = wave.clientHeight;
  if (!width) return;
  wave.width = width * scale;
  wave.height = height * scale;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const pen = wave.getContext("2d");
  pen.scale(scale, scale);
  const played = length() ? audio.currentTime / length() : 0;
  const lanes = channels.length ? channels : [[]];
  const lane = height / lanes.length, bar = 3, gap = 1, bars = Math.floor(width / (bar + gap));
  lanes.forEach((peaks, number) => {
    const loudest = Math.max(24, ...peaks), middle = lane * (number + 0.5);
    for (let each = 0; each < bars; each++) {
      const first = Math.floor(each * peaks.length / bars);
      const last = Math.max(first + 1, Math.floor((each + 1) * peaks.length / bars));
      const peak = Math.max(0, ...peaks.slice(first, last));
      const tall = Math.max(2, (lane - 6) * peak / loudest);
      pen.fillStyle = colour(each / bars < played ? "--accent" : "--wave");
      pen.fillRect(each * (bar + gap), middle - tall / 2, bar, tall);
    }
  });
  pen.fillStyle = colour("--accent");
  pen.fillRect(Math.min(width - 2, played * width), 0, 2, height);
}

function follow() {
  let now = -1;
  turns.forEach((turn, number) => { if (Number(turn.dataset.at) <= audio.currentTime + 0.05) now = number; });
  if (audio.paused && !audio.currentTime) now = -1;
  if (now === current) return;
  turns[current]?.classList.remove("now");
  current = now;
  const turn = turns[now];
  if (!turn) return;
  turn.classList.add("now");
  if (!audio.paused) turn.scrollIntoView({ block: "center", behavior: "smooth" });
}

function tick() {
  const at = audio.currentTime, whole = length();
  $("clock").textContent = `${clock(at)} / ${clock(whole)}`;
  wave.setAttribute("aria-valuemax", Math.round(whole));
  wave.setAttribute("aria-valuenow", Math.round(at));
  wave.setAttribute("aria-valuetext", clock(at));
  $("play").textContent = audio.paused ? "▶" : "❚❚";
  $("play").setAttribute("aria-label", audio.paused ? "Play" : "Pause");
  follow();
  draw();
}

for (const event of ["timeupdate", "play", "pause", "seeked", "loadedmetadata", "ended"]) {
  audio.addEventListener(event, tick);
}
audio.addEventListener("error", () => {
  if (!audio.hasAttribute("src")) return;
  $("silence").hidden = false;
  $("silence").textContent = "The recording cannot be played.";
});
$("play").addEventListener("click", toggle);
$("speed").addEventListener("change", () => faster(0));
const at = (event) => {
  const box = wave.getBoundingClientRect();
  seek((event.clientX - box.left) / box.width * length());
};
wave.addEventListener("pointerdown", (event) => { wave.setPointerCapture(event.pointerId); at(event); });
wave.addEventListener("pointermove", (event) => { if (event.buttons) at(event); });
$("turns").addEventListener("click", (event) => {
  const turn = event.target.closest("li[data-at]");
  if (turn && !String(getSelection())) seek(Number(turn.dataset.at));
});
new ResizeObserver(draw).observe(wave);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
