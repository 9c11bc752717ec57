"use strict";
// Draws the charts of the page with ECharts. Names reach the page as text only: on the canvas, or by textContent.
(() => {
  const data = JSON.parse(document.getElementById("charts").textContent);
  const root = document.documentElement;
  const color = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  const runColor = (run) => color("run" + (run % 8));
  const figure = (value) => (value === null || Number.isNaN(value) ? "–" : String(Number(value.toPrecision(5))));
  const LABELED = 24; // largest number of classes whose cells show a number
  const ZOOMED = 8; // classes on each side of the one that was searched

  // The space for the longest of some names on an axis, in pixels.
  function space(names, most) {
    const context = document.createElement("canvas").getContext("2d");
    context.font = "12px system-ui, sans-serif";
    return Math.min(most, Math.ceil(Math.max(...names.map((name) => context.measureText(name).width))) + 4);
  }

  // A legend of several lines, which wraps, and the height that it takes.
  function legend(names, element) {
    const most = element.clientWidth - 48;
    let [lines, used] = [1, 0];
    for (const name of names) {
      const width = space([name], most) + 36;
      if (used && used + width > element.clientWidth) [lines, used] = [lines + 1, 0];
      used += width;
    }
    const text = { color: color("text"), width: most, overflow: "truncate" };
    const show = names.length > 1;
    return [{ show, top: 4, left: 0, padding: 0, itemWidth: 16, itemGap: 8, textStyle: text }, show ? lines * 22 + 18 : 0];
  }

  function tip(title, lines) {
    const box = document.createElement("div");
    box.className = "tip";
    const head = box.appendChild(document.createElement("b"));
    head.textContent = title;
    for (const line of lines) box.appendChild(document.createElement("div")).textContent = line;
    return box;
  }

  function draw(element, option) {
    const text = { color: color("text") };
    const chart = echarts.getInstanceByDom(element) || echarts.init(element);
    chart.resize();
    chart.setOption({
      animation: false,
      aria: { enabled: true },
      textStyle: { fontFamily: "system-ui, sans-serif" },
      ...option,
      tooltip: {
        confine: true, backgroundColor: color("back"), borderColor: color("line"), textStyle: text, ...option.tooltip,
      },
    }, true);
    return chart;
  }

  function axis(options) {
    const line = { lineStyle: { color: color("line") } };
    return {
      ...options,
      nameTextStyle: { color: color("muted") },
      axisLabel: { color: color("muted"), ...options.axisLabel },
      axisLine: { show: true, ...line },
      axisTick: { ...line, ...options.axisTick },
      splitLine: { ...line, ...options.splitLine },
    };
  }

  function slider(options) {
    return {
      type: "slider", brushSelect: false, showDetail: false, borderColor: color("line"), textStyle: { color: color("muted") },
      handleSize: "80%", ...options,
    };
  }

  function curve(element) {
    const chart = data.curves[element.dataset.curve];
    const [names, height] = legend(chart.series.map((line) => line.name), element);
    element.style.height = 240 + height + "px";
    draw(element, {
      grid: { left: 8, right: 24, top: height || 20, bottom: 24, containLabel: true },
      legend: names,
      tooltip: {
        trigger: "axis",
        formatter: (items) => tip(chart.axis + " " + items[0].value[0],
          items.map((item) => item.seriesName + ": " + figure(item.value[1]) + (chart.unit ? " " + chart.unit : ""))),
      },
      xAxis: axis({
        type: "value", min: "dataMin", max: "dataMax", minInterval: 1, name: chart.axis, nameLocation: "middle",
        nameGap: 26, splitLine: { show: false },
      }),
      yAxis: axis({ type: "value", scale: true }),
      series: chart.series.map((line) => ({
        type: "line", name: line.name, data: line.points, color: runColor(line.run), sampling: "lttb",
        showSymbol: line.points.length <= 60, symbol: "circle", symbolSize: 5, lineStyle: { width: 2 },
        markPoint: line.best === null ? undefined : {
          symbol: "circle", symbolSize: 11, data: [{ coord: line.best, value: line.best[1] }],
          itemStyle: { color: "transparent", borderColor: runColor(line.run), borderWidth: 2 },
          label: { show: data.runs.length === 1, position: "top", color: color("text"), textBorderColor: color("back"), textBorderWidth: 3 },
        },
      })),
    });
  }

  function bars(element) {
    const chart = data.bars[element.dataset.bars];
    const count = chart.classes.length;
    const each = 12 + 11 * chart.series.length;
    const shown = Math.min(count, Math.max(3, Math.floor(560 / each)));
    const several = chart.series.length > 1;
    const names = space(chart.classes, Math.min(240, element.clientWidth * 0.35));
    const [runs, height] = legend(chart.series.map((one) => one.name), element);
    element.style.height = shown * each + (height || 8) + 32 + "px";
    draw(element, {
      grid: { left: names + 12, right: count > shown ? 48 : 64, top: height || 8, bottom: 24 },
      legend: runs,
      tooltip: {
        trigger: "axis", axisPointer: { type: "shadow" },
        formatter: (items) => tip(chart.classes[items[0].dataIndex], items.map((item) =>
          (several ? item.seriesName + ": " : "") + figure(item.value) + " % of "
          + chart.series[item.seriesIndex].videos[item.dataIndex] + " videos")),
      },
      xAxis: axis({ type: "value", min: 0, max: 100, splitNumber: element.clientWidth < 500 ? 2 : 5, axisLabel: { formatter: "{value} %" } }),
      yAxis: axis({
        type: "category", data: chart.classes, inverse: true, splitLine: { show: false }, axisTick: { show: false },
        axisLabel: { width: names, overflow: "truncate", color: color("text") },
      }),
      dataZoom: count > shown ? [slider({ yAxisIndex: 0, right: 8, width: 18, startValue: 0, endValue: shown - 1 })] : [],
      series: chart.series.map((one) => ({
        type: "bar", name: one.name, data: one.values, color: runColor(one.run), barMaxWidth: 16,
        label: { show: count <= shown && !several, position: "right", color: color("text"), formatter: (item) => figure(Math.round(item.value * 10) / 10) + " %" },
      })),
    });
  }

  function matrix(element) {
    const number = element.dataset.matrix;
    const { classes, totals, cells } = data.matrices[number];
    const count = classes.length;
    const large = count > LABELED;
    element.style.maxWidth = large ? "" : Math.max(340, count * 88 + 220) + "px";
    element.style.height = large ? Math.min(860, Math.max(420, element.clientWidth)) + "px" : count * 40 + 170 + "px";
    const width = space(classes, Math.min(large ? 120 : 180, element.clientWidth * 0.28));
    const names = { width, overflow: "truncate", color: color("text"), interval: 0, hideOverlap: true, textMargin: [4, 4] };
    const turn = Number(color("turn")); // percent from which on the background contrasts with the other text color
    const cell = ([x, y, videos]) => {
      const share = totals[y] ? (100 * videos) / totals[y] : 0;
      return { value: [x, y, large ? Math.sqrt(share) : share, videos], label: { color: share > turn ? color("back") : color("text") } };
    };
    const series = (kind, wanted) => ({
      type: "heatmap", name: kind, data: cells.filter(wanted).map(cell), progressive: 0,
      label: { show: !large, formatter: (item) => item.value[3] },
      itemStyle: { borderColor: color("back"), borderWidth: large ? 0 : 1 },
      emphasis: { itemStyle: { borderColor: color("text"), borderWidth: 2 } },
    });
    const scale = (index, kind) => ({
      type: "continuous", show: false, seriesIndex: index, dimension: 2, min: 0, max: large ? 10 : 100, // roots show rare confusions
      inRange: { color: [color(kind + "-low"), color(kind)] },
    });
    const chart = draw(element, {
      grid: {
        left: width + 12, right: large ? 44 : 16, top: 36, bottom: width + (large ? 60 : 32),
        show: true, borderColor: color("line"), backgroundColor: "transparent",
      },
      tooltip: {
        formatter: ({ value: [x, y, , videos] }) => tip(classes[y] + (x === y ? "" : " → " + classes[x]), [
          videos + " of " + totals[y] + " videos (" + figure(Math.round((1000 * videos) / totals[y]) / 10) + " %)"
          + (x === y ? " right" : ""),
        ]),
      },
      toolbox: {
        show: large, right: 8, top: 0, iconStyle: { borderColor: color("text") },
        emphasis: { iconStyle: { borderColor: color("accent"), textFill: color("text") } },
        feature: { dataZoom: { title: { zoom: "Select an area", back: "Undo" } }, restore: { title: "Show all" } },
      },
      xAxis: axis({
        type: "category", data: classes, name: "predicted", nameLocation: "middle", nameGap: width * 0.87 + 18,
        axisLabel: { ...names, rotate: 60 }, position: "bottom", axisTick: { show: false },
        splitLine: { show: !large, interval: 0 },
      }),
      yAxis: axis({
        type: "category", data: classes, inverse: true, name: "true", nameLocation: "start",
        axisLabel: names, axisTick: { show: false }, splitLine: { show: !large, interval: 0 },
      }),
      visualMap: [scale(0, "right"), scale(1, "wrong")],
      dataZoom: large ? [
        slider({ xAxisIndex: 0, bottom: 4, height: 20 }),
        slider({ yAxisIndex: 0, right: 4, width: 20 }),
        { type: "inside", xAxisIndex: 0, zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false },
        { type: "inside", yAxisIndex: 0, zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false },
      ] : [],
      series: [series("right", ([x, y]) => x === y), series("wrong", ([x, y]) => x !== y)],
    });
    const input = document.querySelector(`[data-find="${number}"]`);
    input.closest(".tools").hidden = !large;
    input.oninput = () => {
      const place = classes.indexOf(input.value);
      if (place < 0 && input.value) return;
      const range = place < 0 ? { start: 0, end: 100 }
        : { startValue: Math.max(0, place - ZOOMED), endValue: Math.min(count - 1, place + ZOOMED) };
      chart.dispatchAction({ type: "dataZoom", batch: [0, 1].map((dataZoomIndex) => ({ dataZoomIndex, ...range })) });
    };
    if (input.value) input.oninput();
  }

  function drawAll() {
    document.querySelectorAll("[data-curve]").forEach(curve);
    document.querySelectorAll("[data-bars]").forEach(bars);
    document.querySelectorAll("[data-matrix]").forEach(matrix);
  }

  const button = document.getElementById("theme");
  button.hidden = false;
  button.onclick = () => {
    const next = { auto: "light", light: "dark", dark: "auto" }[root.dataset.theme || "auto"];
    root.dataset.theme = next;
    button.textContent = "Theme: " + next;
    drawAll();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) drawAll();
    width = innerWidth;
  });
  drawAll();
})();
