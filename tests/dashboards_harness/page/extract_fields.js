// Grafana's transformation "Extract fields" for JSON, which its packages leave out.
import { FieldType } from '@grafana/data';
import { map } from 'rxjs';

const at = (value, path) =>
  path.split(/[.[\]]+/).filter(Boolean).reduce((inner, key) => inner?.[key], value);

const parsed = (value) => {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
};

function extracted(frame, { source, replace, jsonPaths }) {
  const field = frame.fields.find(({ name }) => name === source);
  if (!field) return frame;
  const rows = field.values.map(parsed);
  const values = new Map();
  rows.forEach((row, index) => {
    const found = jsonPaths?.length
      ? jsonPaths.map(({ path, alias }) => [alias || path, at(row, path)])
      : Object.entries(row ?? {});
    found.forEach(([name, value]) => {
      if (!values.has(name)) values.set(name, Array(rows.length).fill(undefined));
      values.get(name)[index] = value;
    });
  });
  const fields = [...values].map(([name, found]) => ({ name, type: FieldType.other, config: {}, values: found }));
  return { ...frame, fields: replace ? fields : [...frame.fields, ...fields] };
}

export const extractFields = {
  id: 'extractFields',
  name: 'Extract fields',
  defaultOptions: {},
  operator: (options) => (source) => source.pipe(map((frames) => frames.map((frame) => extracted(frame, options)))),
};
