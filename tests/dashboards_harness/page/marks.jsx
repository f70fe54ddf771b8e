// What Grafana draws over a time series: annotations as lines and shades, exemplars as diamonds.
export function Marks({ config, annotations = [], exemplars = [] }) {
  config.addHook('draw', (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    annotations.forEach((each) => annotation(u, each));
    exemplars.forEach((each) => exemplar(u, each));
    ctx.restore();
  });
  return null;
}

function annotation({ ctx, bbox, valToPos }, { time, timeEnd, color }) {
  const from = valToPos(time, 'x', true);
  ctx.fillStyle = `${color}1a`;
  ctx.fillRect(from, bbox.top, valToPos(timeEnd ?? time, 'x', true) - from, bbox.height);
  ctx.strokeStyle = color;
  ctx.setLineDash([5, 5]);
  ctx.beginPath();
  ctx.moveTo(from, bbox.top);
  ctx.lineTo(from, bbox.top + bbox.height);
  ctx.stroke();
  ctx.setLineDash([]);
}

function exemplar({ ctx, scales, valToPos }, { time, value }) {
  const y = Object.keys(scales).find((key) => key !== 'x');
  ctx.save();
  ctx.translate(valToPos(time, 'x', true), valToPos(value, y, true));
  ctx.rotate(Math.PI / 4);
  ctx.fillStyle = '#5794F2';
  ctx.fillRect(-3, -3, 6, 6);
  ctx.restore();
}
