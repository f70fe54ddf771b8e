// Grafana's packages have no heatmap; this one takes the axes from them and the colours from the same schemes.
import { formattedValueToString, getValueFormat } from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation } from '@grafana/schema';
import { UPlotChart, UPlotConfigBuilder } from '@grafana/ui';
import * as schemes from 'd3-scale-chromatic';

export function Heatmap({ panel, width, height, frames, theme, timeRange }) {
  const [time, ...buckets] = frames[0].fields;
  const { scheme, steps } = panel.options.color;
  const interpolate = schemes[`interpolate${scheme}`];
  const most = Math.max(...buckets.flatMap(({ values }) => values.filter((value) => value !== null)));
  const unit = getValueFormat(panel.options.yAxis?.unit ?? panel.fieldConfig.defaults.unit);
  const step = Math.min(...time.values.slice(1).map((at, index) => at - time.values[index])) || 60_000;

  const config = new UPlotConfigBuilder('utc');
  config.addScale({
    scaleKey: 'x', isTime: true, orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right,
    range: () => [timeRange.from.valueOf(), timeRange.to.valueOf()],
  });
  config.addAxis({ scaleKey: 'x', isTime: true, placement: AxisPlacement.Bottom, theme, grid: { show: false } });
  config.addScale({
    scaleKey: 'y', orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up, range: () => [0, buckets.length],
  });
  const every = Math.ceil(buckets.length / Math.max(2, height / 30));
  const shown = buckets.map((_, index) => index + 1).filter((index) => index % every === 0 && index < buckets.length);
  config.addAxis({
    scaleKey: 'y', placement: AxisPlacement.Left, theme, grid: { show: false },
    splits: shown,
    values: shown.map((index) => formattedValueToString(unit(Number(buckets[index - 1].name)))),
  });
  config.addSeries({ scaleKey: 'y', pathBuilder: () => null, pointsBuilder: () => null, theme, show: true, lineColor: 'transparent' });
  config.addHook('draw', (u) => {
    const { ctx } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    time.values.forEach((at, column) => {
      const left = u.valToPos(at - step / 2, 'x', true);
      const right = u.valToPos(at + step / 2, 'x', true);
      buckets.forEach(({ values }, row) => {
        const value = values[column];
        if (!value) return;
        const share = Math.round((value / most) ** 0.5 * (steps - 1)) / (steps - 1);
        // On a dark theme Grafana turns the schemes around, so that much is bright.
        ctx.fillStyle = interpolate(theme.isDark ? 1 - share : share);
        const top = u.valToPos(row + 1, 'y', true);
        ctx.fillRect(left, top, right - left - 1, u.valToPos(row, 'y', true) - top - 1);
      });
    });
    ctx.restore();
  });
  return <UPlotChart {...{ config, width, height }} data={[time.values, buckets[0].values]} />;
}
