import type React from 'react';

/** AdminJS finds its drawer of filters by this name. The lists have filters of their own, so that nothing hidden stays in the order of the Tab key. */
const FilterDrawer: React.FC = () => null;
export default FilterDrawer;
