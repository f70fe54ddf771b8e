// One drawing for each kind of panel: Grafana's component where its packages have one.
import { getFieldDisplayValues } from '@grafana/data';
import { BigValue, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { BarChart } from './bar_chart.jsx';
import { Heatmap } from './heatmap.jsx';
import { Logs } from './logs.jsx';
import { Trace } from './trace.jsx';
import { XyChart } from './xy_chart.jsx';
import { Marks } from './marks.jsx';

function Series({ panel, width, height, frames, timeRange, annotations, exemplars }) {
  return (
    <TimeSeries
      {...{ frames, width, height, timeRange, timeZone: 'utc', structureRev: 1 }}
      legend={{ calcs: [], ...panel.options.legend }}
      options={panel.options}
    >
      {(config) => <Marks {...{ config, annotations, exemplars }} />}
    </TimeSeries>
  );
}

function Stat({ panel, width, height, frames, theme, timeRange }) {
  const values = getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    theme,
    data: frames,
    sparkline: panel.options.graphMode !== 'none',
    timeZone: 'utc',
  });
  const { colorMode, graphMode, textMode = 'auto', justifyMode = 'auto', wideLayout = true } = panel.options;
  const count = values.length;
  const draw = ({ value, width: w, height: h, count: n }) => (
    <BigValue
      {...{ width: w, height: h, theme, colorMode, graphMode, textMode, justifyMode, wideLayout }}
      value={count === 1 && textMode === 'auto' ? { ...value.display, title: undefined } : value.display}
      sparkline={value.sparkline}
      count={n}
    />
  );
  return (
    <VizRepeater
      getValues={() => values}
      renderValue={draw}
      {...{ width, height }}
      source={frames}
      itemSpacing={3}
      renderCounter={0}
      autoGrid
      orientation={panel.options.orientation ?? 'auto'}
    />
  );
}

function TablePanel({ panel, width, height, frames, timeRange }) {
  const frame = frames.find(({ length }) => length) ?? frames[0];
  return (
    <TableNG
      data={frame}
      {...{ width, height, timeRange }}
      sortBy={panel.options.sortBy}
      cellHeight={panel.options.cellHeight}
      fieldConfig={panel.fieldConfig}
      noHeader={panel.options.showHeader === false}
      enableVirtualization={false}
      resizable
    />
  );
}

export const PANELS = {
  timeseries: Series,
  stat: Stat,
  table: TablePanel,
  heatmap: Heatmap,
  barchart: BarChart,
  xychart: XyChart,
  logs: Logs,
  traces: Trace,
};
