// The grid, the rows and the bar of variables, laid out as Grafana does: 24 columns, 30 pixels a row, 8 between.
import { Icon, PanelChrome } from '@grafana/ui';
import { PANELS } from './panels.jsx';

const CELL = 30;
const GAP = 8;
const WIDTH = 1600;

export function Dashboard({ dashboard, data, timeRange, variables, annotations, rows, theme }) {
  const unit = (WIDTH - 2 * GAP + GAP) / 24;
  const place = ({ x, y, w, h }, above) => ({
    position: 'absolute',
    left: x * unit,
    top: (y - above) * (CELL + GAP),
    width: w * unit - GAP,
    height: h * (CELL + GAP) - GAP,
  });
  const shown = visible(dashboard.panels, rows);
  const above = Math.min(...shown.map(({ gridPos }) => gridPos.y));
  const height = Math.max(...shown.map(({ gridPos: { y, h } }) => y - above + h)) * (CELL + GAP);
  return (
    <div style={{ width: WIDTH, padding: GAP, boxSizing: 'border-box', background: theme.colors.background.canvas }}>
      <Title {...{ dashboard, timeRange, theme }} />
      <Variables {...{ dashboard, variables, theme }} />
      <div style={{ position: 'relative', height }}>
        {shown.map((panel) => {
          const box = place(panel.gridPos, above);
          return (
            <div key={panel.id} style={box} data-panel={panel.title} data-kind={panel.type}>
              {panel.type === 'row' ? <Row panel={panel} /> : <Panel {...{ panel, box, timeRange, theme, annotations, variables }} data={data[panel.id]} />}
            </div>
          );
        })}
      </div>
    </div>
  );
}

// Open rows keep their place; of collapsed ones only the heads stand, unless a picture asks for one of them.
function visible(panels, rows) {
  if (!rows) return panels;
  const found = [];
  let inside = false;
  for (const panel of panels) {
    if (panel.type === 'row') {
      inside = rows.includes(panel.title);
      if (inside) found.push([{ ...panel, collapsed: false }, ...(panel.panels ?? [])]);
    } else if (inside) found.at(-1).push(panel);
  }
  let y = 0;
  return found.flatMap((row) => {
    const down = y - row[0].gridPos.y;
    y = down + Math.max(...row.map(({ gridPos }) => gridPos.y + gridPos.h));
    return row.map((panel) => ({ ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + down } }));
  });
}

function Title({ dashboard, timeRange, theme }) {
  const format = (at) => at.utc().format('YYYY-MM-DD HH:mm:ss');
  return (
    <div style={{ display: 'flex', justifyContent: 'space-between', padding: '2px 4px 8px', ...theme.typography.h4 }}>
      <span>{dashboard.title}</span>
      <span style={{ ...theme.typography.bodySmall, color: theme.colors.text.secondary }}>
        {format(timeRange.from)} to {format(timeRange.to)} UTC
      </span>
    </div>
  );
}

function Variables({ dashboard, variables, theme }) {
  const shown = dashboard.templating.list.filter(({ hide, type }) => hide !== 2 && type !== 'datasource');
  const box = { padding: '0 8px', height: 32, lineHeight: '30px', border: `1px solid ${theme.colors.border.weak}` };
  const text = ({ name, options, includeAll }) => {
    const value = variables[name];
    if (includeAll && value === '.+') return 'All';
    return options?.find((option) => option.value === value)?.text ?? value;
  };
  return (
    <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8, paddingBottom: 8, ...theme.typography.bodySmall }}>
      {shown.map((variable) => (
        <span key={variable.name} style={{ display: 'flex' }}>
          <span style={{ ...box, background: theme.colors.background.secondary }}>{variable.label ?? variable.name}</span>
          <span style={{ ...box, background: theme.components.input.background }}>{text(variable)}</span>
        </span>
      ))}
    </div>
  );
}

function Row({ panel }) {
  return (
    <div style={{ display: 'flex', gap: 8, alignItems: 'center', height: CELL, fontWeight: 500 }}>
      <Icon name={panel.collapsed ? 'angle-right' : 'angle-down'} />
      {panel.title}
      {panel.collapsed && <span style={{ opacity: 0.6 }}>({panel.panels.length} panels)</span>}
    </div>
  );
}

function Panel({ panel, box, data, ...rest }) {
  const Drawn = PANELS[panel.type];
  const empty = !data.errors.length && data.frames.every(({ length }) => !length);
  const inside = (width, height) => {
    if (data.errors.length) return <Centred>{data.errors[0]}</Centred>;
    if (!Drawn) return <Centred>{`no drawing for ${panel.type}`}</Centred>;
    if (empty) return <Centred>{panel.fieldConfig.defaults.noValue ?? 'No data'}</Centred>;
    return <Drawn {...{ panel, width, height, frames: data.frames, exemplars: data.exemplars, ...rest }} />;
  };
  return (
    <PanelChrome title={panel.title} description={panel.description} width={box.width} height={box.height}>
      {inside}
    </PanelChrome>
  );
}

function Centred({ children }) {
  return (
    <div data-empty style={{ display: 'flex', height: '100%', alignItems: 'center', justifyContent: 'center', textAlign: 'center' }}>
      {children}
    </div>
  );
}
