export const VERSION = '0.1.0';

/** Of runtime/package.json; a test compares them. */
export const PINNED_NODE = '24.21.0';
