// Answers of the back ends as the data frames that Grafana's own data sources make of them.
import { FieldType, toDataFrame } from '@grafana/data';

const INTERNAL = '__name__';

export function framesOf(target, answer, targets) {
  if (answer.error) return [];
  const make = { promql: promFrames, logql: logFrames, traceql: traceFrames }[target.language];
  return make(target, answer, targets).map((frame) => ({ ...frame, refId: target.refId }));
}

function promFrames(target, { resultType, result }, targets) {
  if (resultType === 'scalar') result = [{ metric: {}, value: result }];
  const series = result.map((each) => ({ labels: each.metric, samples: each.values ?? [each.value] }));
  if (target.format === 'table') return series.length ? [promTable(target, series, targets)] : [];
  if (target.format === 'heatmap') return series.length ? [promHeatmap(target, series)] : [];
  return series.map(({ labels, samples }) => valueFrame(samples, labels, nameOf(target, labels)));
}

function valueFrame(samples, labels, displayNameFromDS) {
  return toDataFrame({
    fields: [
      { name: 'Time', type: FieldType.time, values: samples.map(([at]) => Math.round(at * 1000)) },
      { name: 'Value', type: FieldType.number, labels, values: samples.map(([, v]) => number(v)), config: { displayNameFromDS } },
    ],
  });
}

const number = (text) => (text === 'NaN' ? null : Number(text.replace('Inf', 'Infinity')));

function nameOf(target, labels) {
  const legend = target.legendFormat;
  if (legend && legend !== '__auto') return legend.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => labels[name] ?? '');
  const rest = Object.entries(labels).filter(([name]) => name !== INTERNAL);
  if (!rest.length) return labels[INTERNAL] ?? target.expr;
  return `${labels[INTERNAL] ?? ''}{${rest.map(([name, value]) => `${name}="${value}"`).join(', ')}}`;
}

function promTable(target, series, targets) {
  const names = [...new Set(series.flatMap(({ labels }) => Object.keys(labels)))].sort();
  const rows = series.flatMap(({ labels, samples }) => samples.map((sample) => [labels, sample]));
  const value = targets.length > 1 ? `Value #${target.refId}` : 'Value';
  return toDataFrame({
    fields: [
      { name: 'Time', type: FieldType.time, values: rows.map(([, [at]]) => Math.round(at * 1000)) },
      ...names.map((name) => ({ name, type: FieldType.string, values: rows.map(([labels]) => labels[name] ?? '') })),
      { name: value, type: FieldType.number, values: rows.map(([, [, v]]) => number(v)) },
    ],
  });
}

// Buckets count everything below their bound; a heatmap shows each band's own count.
function promHeatmap(target, series) {
  const bound = ({ labels }) => Number((labels.le ?? '+Inf').replace('Inf', 'Infinity'));
  const sorted = [...series].sort((one, other) => bound(one) - bound(other));
  const times = [...new Set(sorted.flatMap(({ samples }) => samples.map(([at]) => at)))].sort((a, b) => a - b);
  let below = times.map(() => 0);
  const fields = sorted.map((each) => {
    const at = new Map(each.samples.map(([time, v]) => [time, number(v)]));
    const total = times.map((time) => at.get(time) ?? null);
    const own = total.map((value, index) => (value === null ? null : Math.max(0, value - (below[index] ?? 0))));
    below = total;
    return { name: each.labels.le ?? '+Inf', type: FieldType.number, labels: each.labels, values: own };
  });
  return toDataFrame({
    meta: { type: 'heatmap-rows' },
    fields: [{ name: 'Time', type: FieldType.time, values: times.map((at) => Math.round(at * 1000)) }, ...fields],
  });
}

function logFrames(target, { resultType, result }) {
  if (resultType !== 'streams') {
    return result.map((each) => valueFrame(each.values, each.metric, nameOf(target, each.metric)));
  }
  const lines = result
    .flatMap(({ stream, values }) => values.map(([at, line]) => ({ at: Number(at) / 1e6, line, labels: stream })))
    .sort((one, other) => one.at - other.at);
  if (!lines.length) return [];
  return [
    toDataFrame({
      fields: [
        { name: 'Time', type: FieldType.time, values: lines.map(({ at }) => at) },
        { name: 'Line', type: FieldType.string, values: lines.map(({ line }) => line) },
        { name: 'labels', type: FieldType.other, values: lines.map(({ labels }) => labels) },
      ],
    }),
  ];
}

const plain = (value) => Object.values(value ?? {})[0];
const attributesOf = (thing) => Object.fromEntries((thing.attributes ?? []).map(({ key, value }) => [key, plain(value)]));

function traceFrames(target, answer) {
  return answer.traces === undefined ? oneTrace(answer) : [spansTable(answer.traces)].filter((frame) => frame.length);
}

// Grafana's table type "spans": one row a span, the selected attributes as columns in order of their names.
function spansTable(traces) {
  const spans = traces.flatMap((trace) =>
    (trace.spanSets ?? (trace.spanSet ? [trace.spanSet] : [])).flatMap((set) =>
      set.spans.map((span) => ({ trace, span, attributes: { ...attributesOf(set), ...attributesOf(span) } })),
    ),
  );
  const names = [...new Set(spans.flatMap(({ attributes }) => Object.keys(attributes)))].sort();
  const column = (name, type, value, config = {}) => ({ name, type, config, values: spans.map(value) });
  return toDataFrame({
    fields: [
      column('traceIdHidden', FieldType.string, ({ trace }) => trace.traceID, { custom: { hideFrom: { viz: true } } }),
      column('traceService', FieldType.string, ({ trace }) => trace.rootServiceName, { displayNameFromDS: 'Trace Service' }),
      column('traceName', FieldType.string, ({ trace }) => trace.rootTraceName, { displayNameFromDS: 'Trace Name' }),
      column('spanID', FieldType.string, ({ span }) => span.spanID, { displayNameFromDS: 'Span ID', unit: 'string' }),
      column('time', FieldType.time, ({ span }) => Number(span.startTimeUnixNano) / 1e6, { displayNameFromDS: 'Start time' }),
      column('name', FieldType.string, ({ span }) => span.name, { displayNameFromDS: 'Name' }),
      ...names.map((name) => {
        const values = spans.map(({ attributes }) => attributes[name]);
        const numeric = values.every((value) => value === undefined || !Number.isNaN(Number(value)));
        return column(name, numeric ? FieldType.number : FieldType.string, ({ attributes }) =>
          numeric && attributes[name] !== undefined ? Number(attributes[name]) : attributes[name],
        );
      }),
      column('duration', FieldType.number, ({ span }) => Number(span.durationNanos), { displayNameFromDS: 'Duration', unit: 'ns' }),
    ],
  });
}

function oneTrace(answer) {
  const resources = answer.resourceSpans ?? answer.batches ?? answer.trace?.resourceSpans ?? [];
  const spans = resources.flatMap((resource) =>
    resource.scopeSpans.flatMap((scope) =>
      scope.spans.map((span) => ({ span, service: attributesOf(resource.resource)['service.name'] })),
    ),
  );
  if (!spans.length) return [];
  const start = ({ span }) => Number(span.startTimeUnixNano) / 1e6;
  const column = (name, type, value) => ({ name, type, values: spans.map(value) });
  return [
    toDataFrame({
      fields: [
        column('spanID', FieldType.string, ({ span }) => span.spanId),
        column('parentSpanID', FieldType.string, ({ span }) => span.parentSpanId ?? ''),
        column('operationName', FieldType.string, ({ span }) => span.name),
        column('serviceName', FieldType.string, ({ service }) => service),
        column('startTime', FieldType.number, start),
        column('duration', FieldType.number, ({ span }) => Number(span.endTimeUnixNano) / 1e6 - Number(span.startTimeUnixNano) / 1e6),
        column('logs', FieldType.other, ({ span }) =>
          (span.events ?? []).map((event) => ({
            timestamp: Number(event.timeUnixNano) / 1e6,
            name: event.name,
            fields: (event.attributes ?? []).map(({ key, value }) => ({ key, value: plain(value) })),
          })),
        ),
      ],
    }),
  ];
}
