/** Until when runs and gaps of a source may have been dropped, since they ended long ago. */
export const forgottenWatchesSql = (): string => `
alter table watches add column forgotten_until timestamptz;
`;
