// Grafana's packages have no log panel: time, line and labels, as much as fits.
export function Logs({ frames, height, theme }) {
  const [time, line, labels] = frames[0].fields;
  const rows = Math.floor(height / 20);
  return (
    <div style={{ ...theme.typography.code, fontSize: 12, lineHeight: '20px', fontFamily: theme.typography.fontFamilyMonospace }}>
      {time.values.slice(0, rows).map((at, index) => (
        <div key={index} style={{ whiteSpace: 'nowrap', overflow: 'hidden' }}>
          <span style={{ color: theme.colors.text.secondary }}>{new Date(at).toISOString().replace('T', ' ').slice(0, 23)}</span>{' '}
          {line.values[index]}{' '}
          <span style={{ color: theme.colors.text.secondary }}>
            {Object.entries(labels.values[index]).filter(([name]) => name.startsWith('tokenstream')).map(([name, value]) => `${name}=${value}`).join(' ')}
          </span>
        </div>
      ))}
    </div>
  );
}
