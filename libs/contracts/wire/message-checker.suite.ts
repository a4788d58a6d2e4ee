import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { headerText, SIGNED_HEADERS, type WireHeaders } from './headers.ts';

const FOLDER = join(import.meta.dirname, '../../../docs/schemas');
const BY_TYPE: Readonly<Record<string, string>> = {
  batch: 'change-batch',
  segment: 'delta-segment',
  seal: 'seal',
};

/** Checks messages as they lie on a topic against the published JSON Schemas (docs/schemas). */
export class MessageChecker {
  readonly #ajv = new Ajv2020({
    formats: { base64: true, 'date-time': true },
    allErrors: true,
    allowUnionTypes: true,
  });
  readonly #compiled = new Map<string, ValidateFunction>();

  #errors(schema: string, data: unknown): string[] {
    let validate = this.#compiled.get(schema);
    if (!validate) {
      validate = this.#ajv.compile(JSON.parse(readFileSync(join(FOLDER, `${schema}.json`), 'utf8')));
      this.#compiled.set(schema, validate);
    }
    validate(data);
    return (validate.errors ?? []).map(({ instancePath, message }) => `${schema}${instancePath} ${message}`);
  }

  /** What is wrong with a signed message; nothing, mostly. */
  errors(topic: string, headers: WireHeaders, value: Buffer): string[] {
    const json = JSON.parse(value.toString());
    if (topic === 'commits') return this.#errors('commit', json);
    const texts = [...SIGNED_HEADERS, 'mac'].map((name) => [name, headerText(headers, name)]);
    const schema = BY_TYPE[headerText(headers, 'type') ?? ''] ?? 'unknown';
    return [...this.#errors('headers', Object.fromEntries(texts)), ...this.#errors(schema, json)];
  }
}
