import { afterAll, beforeAll, describe } from 'vitest';
import type { Registry } from './port.ts';
import { blockCases } from './suite/blocks.suite.ts';
import { entryCases } from './suite/entries.suite.ts';
import { modelCase } from './suite/model.suite.ts';
import { outboxCases } from './suite/outbox.suite.ts';
import { slotCases } from './suite/slots.suite.ts';

export interface RegistryUnderTest {
  readonly registry: Registry;
  /** The same database as another process sees it; closing it is that process's end. */
  readonly other: () => Promise<Registry>;
  readonly cleanup: () => Promise<void>;
}

/** What every adapter of the registry port promises. All of it happens in one database, each case in sources of its own. */
export function registrySuite(name: string, make: () => Promise<RegistryUnderTest>): void {
  describe(`registry: ${name}`, () => {
    let under: RegistryUnderTest;
    beforeAll(async () => {
      under = await make();
    });
    afterAll(async () => {
      await under.registry.close();
      await under.cleanup();
    });
    for (const cases of [slotCases, entryCases, blockCases, outboxCases, modelCase]) cases(() => under);
  });
}
