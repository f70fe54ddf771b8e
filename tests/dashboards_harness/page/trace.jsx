// Grafana's packages have no trace view: each span as a bar in its time, with marks for its events.
export function Trace({ frames, width, theme }) {
  const [frame] = frames;
  const field = (name) => frame.fields.find((each) => each.name === name).values;
  const [names, services, starts, durations, logs] = ['operationName', 'serviceName', 'startTime', 'duration', 'logs'].map(field);
  const from = Math.min(...starts);
  const all = Math.max(...starts.map((start, index) => start + durations[index])) - from || 1;
  const order = starts.map((_, index) => index).sort((a, b) => starts[a] - starts[b]);
  const left = 320;
  const across = (at) => ((at - from) / all) * (width - left - 90);
  return (
    <div style={{ ...theme.typography.bodySmall }}>
      {order.map((index, row) => (
        <div key={index} style={{ position: 'relative', height: 28, borderBottom: `1px solid ${theme.colors.border.weak}` }}>
          <span style={{ position: 'absolute', top: 6 }}>
            <b>{services[index]}</b> {names[index]}
          </span>
          <span
            style={{
              position: 'absolute', top: 8, height: 12, left: left + across(starts[index]),
              width: Math.max(2, (durations[index] / all) * (width - left - 90)),
              background: theme.visualization.getColorByName(theme.visualization.palette[row % 8]),
            }}
          />
          {logs[index].map(({ timestamp, name }, number) => (
            <span key={number} title={name} style={{ position: 'absolute', top: 4, width: 1, height: 20, left: left + across(timestamp), background: theme.colors.text.primary }} />
          ))}
          <span style={{ position: 'absolute', right: 4, top: 6 }}>{durations[index].toFixed(0)} ms</span>
        </div>
      ))}
    </div>
  );
}
