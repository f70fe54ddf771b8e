// Draws one dashboard: window.draw({dashboard, answers, range, variables}) resolves when all panels stand.
import '@fontsource/roboto-mono/latin-400.css';
import '@fontsource/inter/latin-400.css';
import '@fontsource/inter/latin-500.css';
import 'uplot/dist/uPlot.min.css';
import { ThemeContext, createTheme, dateTime, setTimeZoneResolver } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { EventBusSrv } from '@grafana/data';
import { GlobalStyles, PanelContextProvider, PortalContainer } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { Dashboard } from './dashboard.jsx';
import { prepared } from './field_config.js';
import { framesOf } from './frames.js';

const eventBus = new EventBusSrv();
const panelContext = { eventsScope: 'global', eventBus, canAddAnnotations: () => false, sync: () => 0 };
let root;

window.draw = async ({ dashboard, answers, range, variables, colours = 'dark', rows }) => {
  await initPluginTranslations('grafana');
  setTimeZoneResolver(() => 'utc');
  const theme = createTheme({ colors: { mode: colours } });
  const timeRange = { from: dateTime(range.from), to: dateTime(range.to), raw: { from: dateTime(range.from), to: dateTime(range.to) } };
  const context = { theme, timeZone: 'utc', variables };
  const data = {};
  for (const [id, answer] of Object.entries(answers.panels)) {
    const targets = answer.targets;
    const frames = targets.flatMap((target) => framesOf(target, target.answer, targets));
    const errors = targets.filter(({ answer: { error } }) => error).map(({ answer: { error } }) => error);
    const exemplars = targets.flatMap(({ answer: { exemplars = [] } }) => exemplars);
    data[id] = { frames: await prepared(answer.panel, frames, context), exemplars, errors };
  }
  // What is drawn on a canvas before its font is there stays in another one.
  await Promise.all(['400 12px Inter', '500 14px Inter'].map((font) => document.fonts.load(font)));
  root?.unmount();
  root = createRoot(document.getElementById('page'));
  root.render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PanelContextProvider value={panelContext}>
        <Dashboard {...{ dashboard, data, timeRange, variables, annotations: answers.annotations, rows, theme }} />
      </PanelContextProvider>
      <PortalContainer />
    </ThemeContext.Provider>,
  );
  await quiet();
  return document.getElementById('page').scrollHeight;
};

// Icons come one by one, and tables measure their columns before they show them.
async function quiet() {
  let before = -1;
  for (let look = 0, same = 0; look < 40 && same < 4; look += 1) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const loaded = performance.getEntriesByType('resource').length;
    same = loaded === before ? same + 1 : 0;
    before = loaded;
  }
}
