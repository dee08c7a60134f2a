import React from 'react';

interface PageProps {
  testId?: string;
  /** The state of the object, for tests. */
  status?: string;
  /** Only as wide as a form. */
  isNarrow?: boolean;
  className?: string;
  children: React.ReactNode;
}

/** The content of a page: the landmark that “Skip to the content” leads to. */
const Page: React.FC<PageProps> = ({ testId, status, isNarrow = false, className = '', children }) => (
  <main
    id="content"
    tabIndex={-1}
    className={`cq-page ${isNarrow ? 'cq-narrow' : ''} ${className}`.trim()}
    data-testid={testId}
    data-status={status}
  >
    {children}
  </main>
);
export default Page;
