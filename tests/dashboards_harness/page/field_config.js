// What the panels' field options mean: Grafana keeps these registries in its application, not in its packages.
import {
  FieldConfigOptionsRegistry,
  FieldType,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  thresholdsOverrideProcessor,
  transformDataFrame,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import { extractFields } from './extract_fields.js';

const STANDARD = {
  displayName: displayNameOverrideProcessor,
  unit: identityOverrideProcessor,
  min: identityOverrideProcessor,
  max: identityOverrideProcessor,
  decimals: identityOverrideProcessor,
  color: identityOverrideProcessor,
  noValue: identityOverrideProcessor,
  fieldMinMax: identityOverrideProcessor,
  links: dataLinksOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
};

const PALETTE = { mode: 'palette-classic' };
const BY_THRESHOLD = { mode: 'thresholds' };
const DEFAULT_COLOR = { timeseries: PALETTE, xychart: PALETTE, barchart: PALETTE };
// The same default steps as Grafana adds to a panel that has none.
const DEFAULT_THRESHOLDS = { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }, { value: 80, color: 'red' }] };

standardTransformersRegistry.setInit(() =>
  // One of them stands there under two names.
  [...new Set([...Object.values(standardTransformers), extractFields])].map((transformer) => ({
    id: transformer.id,
    name: transformer.name ?? transformer.id,
    transformation: async () => transformer,
    editor: () => null,
  })),
);

function registryFor({ defaults = {}, overrides = [] }) {
  const custom = new Set(Object.keys(defaults.custom ?? {}));
  overrides.forEach(({ properties }) =>
    properties.forEach(({ id }) => id.startsWith('custom.') && custom.add(id.slice('custom.'.length))),
  );
  const item = (id, path, isCustom, process) => ({
    id, path, isCustom, name: path, process, editor: () => null, override: () => null, shouldApply: () => true,
    settings: { expandTemplateVars: true },
  });
  return new FieldConfigOptionsRegistry(() => [
    ...Object.entries(STANDARD).map(([name, process]) => item(name, name, false, process)),
    ...[...custom].map((name) => item(`custom.${name}`, name, true, identityOverrideProcessor)),
  ]);
}

const replacer = (variables) => (text, scoped = {}) =>
  text?.replace(/\$\{([\w.]+)(?::\w+)?\}|\$(\w+)/g, (whole, braced, bare) => {
    const name = (braced ?? bare).split('.')[0];
    return scoped[name]?.value?.text ?? variables[name] ?? whole;
  });

export async function prepared(panel, frames, { theme, timeZone, variables }) {
  const context = { interpolate: replacer(variables) };
  const transformed = await new Promise((resolve, reject) =>
    transformDataFrame(panel.transformations ?? [], frames, context).subscribe({ next: resolve, error: reject }),
  );
  const steps = panel.fieldConfig.defaults.thresholds?.steps.map(({ value, color }) => ({ value: value ?? -Infinity, color }));
  const fieldConfig = {
    ...panel.fieldConfig,
    defaults: {
      color: DEFAULT_COLOR[panel.type] ?? BY_THRESHOLD,
      ...panel.fieldConfig.defaults,
      thresholds: steps ? { mode: 'absolute', steps } : DEFAULT_THRESHOLDS,
    },
  };
  const overridden = applyFieldOverrides({
    data: transformed,
    fieldConfig,
    fieldConfigRegistry: registryFor(fieldConfig),
    replaceVariables: replacer(variables),
    theme,
    timeZone,
  });
  cacheFieldDisplayNames(overridden);
  return overridden;
}

export const timeField = (frame) => frame.fields.find(({ type }) => type === FieldType.time);
