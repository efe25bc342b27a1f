import "uplot/dist/uPlot.min.css";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/views.css";
import "./styles/rollout.css";
import "./styles/print.css";

import { render } from "preact";
import { App } from "./app";
import { followLinks } from "./lib/router";
import { ask } from "./lib/session";
import "./lib/theme";

const root = document.getElementById("app");
if (root) {
  followLinks();
  void ask();
  render(<App />, root);
}
