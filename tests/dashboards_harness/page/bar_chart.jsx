// Grafana's packages have no bar chart: groups of bars by uPlot, with their axes, colours and legend.
import { FieldType, formattedValueToString, getFieldDisplayName, getFieldSeriesColor } from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation } from '@grafana/schema';
import { UPlotChart, UPlotConfigBuilder, VizLayout, VizLegend } from '@grafana/ui';

export function BarChart({ panel, width, height, frames, theme }) {
  const [frame] = frames;
  const x = frame.fields.find(({ name, type }) => (panel.options.xField ? name === panel.options.xField : type === FieldType.string));
  const bars = frame.fields.filter((field) => field !== x && field.type === FieldType.number);
  const names = bars.map((field) => getFieldDisplayName(field, frame, frames));
  const colours = bars.map((field) => getFieldSeriesColor(field, theme).color);
  const config = new UPlotConfigBuilder('utc');
  const positions = x.values.map((_, index) => index);
  config.addScale({ scaleKey: 'x', orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right, range: () => [-0.5, positions.length - 0.5] });
  config.addAxis({ scaleKey: 'x', placement: AxisPlacement.Bottom, theme, grid: { show: false }, splits: positions, values: x.values.map(String) });
  const { min = 0, max } = panel.fieldConfig.defaults;
  config.addScale({ scaleKey: 'y', orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up, min, max });
  config.addAxis({ scaleKey: 'y', placement: AxisPlacement.Left, theme, formatValue: (value, decimals) => formattedValueToString(bars[0].display(value, decimals)) });
  bars.forEach(() => config.addSeries({ scaleKey: 'y', pathBuilder: () => null, pointsBuilder: () => null, theme, lineColor: 'transparent' }));
  config.addHook('draw', ({ ctx, valToPos }) => {
    const width_ = 0.8 / bars.length;
    bars.forEach(({ values }, number) => {
      ctx.fillStyle = colours[number];
      values.forEach((value, index) => {
        const left = valToPos(index - 0.4 + number * width_, 'x', true);
        const right = valToPos(index - 0.4 + (number + 0.94) * width_, 'x', true);
        const top = valToPos(value ?? 0, 'y', true);
        ctx.fillRect(left, top, right - left, valToPos(0, 'y', true) - top);
      });
    });
  });
  const legend = (
    <VizLayout.Legend placement="bottom">
      <VizLegend displayMode="list" placement="bottom" items={names.map((label, index) => ({ label, color: colours[index], yAxis: 1 }))} />
    </VizLayout.Legend>
  );
  return (
    <VizLayout {...{ width, height, legend }}>
      {(w, h) => <UPlotChart config={config} width={w} height={h} data={[positions, ...bars.map(({ values }) => values)]} />}
    </VizLayout>
  );
}
