// Grafana's packages have no XY chart: points and lines by uPlot, with their axes.
import { formattedValueToString, getFieldSeriesColor } from '@grafana/data';
import { AxisPlacement, GraphDrawStyle, ScaleDirection, ScaleOrientation, VisibilityMode } from '@grafana/schema';
import { UPlotChart, UPlotConfigBuilder } from '@grafana/ui';

export function XyChart({ panel, width, height, frames, theme }) {
  const named = (name) => frames.flatMap(({ fields }) => fields).find((field) => field.name === name);
  const [series] = panel.options.series;
  const [x, y] = [named(series.x.matcher.options), named(series.y.matcher.options)];
  const points = x.values.map((at, index) => [at, y.values[index]]).filter((pair) => pair.every(Number.isFinite)).sort(([a], [b]) => a - b);
  const config = new UPlotConfigBuilder('utc');
  const axis = (field) => (value, decimals) => formattedValueToString(field.display(value, decimals));
  config.addScale({ scaleKey: 'x', orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right, range: (u, low, high) => [low, high] });
  config.addAxis({ scaleKey: 'x', placement: AxisPlacement.Bottom, theme, formatValue: axis(x), label: x.name });
  config.addScale({ scaleKey: 'y', orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up });
  config.addAxis({ scaleKey: 'y', placement: AxisPlacement.Left, theme, formatValue: axis(y), label: y.name });
  const color = getFieldSeriesColor(y, theme).color;
  config.addSeries({ scaleKey: 'y', theme, lineColor: color, pointColor: color, drawStyle: GraphDrawStyle.Line, lineWidth: 1, showPoints: VisibilityMode.Always, pointSize: 6 });
  return <UPlotChart {...{ config, width, height }} data={[points.map(([at]) => at), points.map(([, value]) => value)]} />;
}
