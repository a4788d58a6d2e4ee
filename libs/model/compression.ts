/**
 * How hard blocks are compressed before they are encrypted: not at all, as fast as files are read, or for less space with
 * about half as much work again. Readers need not know: every frame says whether it is compressed, and a store may mix them.
 */
export const COMPRESSIONS = ['off', 'fast', 'better'] as const;
export type Compression = (typeof COMPRESSIONS)[number];
