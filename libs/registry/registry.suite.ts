import { afterAll, beforeAll, describe } from 'vitest';
import type { Registry } from './port.ts';
import { accessCases } from './suite/access.suite.ts';
import { blockCases } from './suite/blocks.suite.ts';
import { entryCases } from './suite/entries.suite.ts';
import { leaseCases } from './suite/leases.suite.ts';
import { modelCase } from './suite/model.suite.ts';
import { outboxCases } from './suite/outbox.suite.ts';
import { pageCases } from './suite/pages.suite.ts';
import { slotCases } from './suite/slots.suite.ts';
import { watchCases } from './suite/watches.suite.ts';

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
    for (const cases of [
      slotCases,
      leaseCases,
      accessCases,
      entryCases,
      pageCases,
      blockCases,
      outboxCases,
      watchCases,
      modelCase,
    ])
      cases(() => under);
  });
}
