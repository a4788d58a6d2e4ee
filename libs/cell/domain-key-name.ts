import { blake3 } from '../model/digests.ts';

/** Where a generation of a domain's keys lies, wrapped to a recipient. */
export const domainKeyName = (domain: string, generation: number, recipient: string): string =>
  `keys/${domain}/${generation}/${blake3(Buffer.from(recipient)).toString('hex').slice(0, 32)}`;
