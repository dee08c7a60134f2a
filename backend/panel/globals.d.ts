/** AdminJS brings its router along as a global of the page; these are the parts of it that our pages use. */
declare module 'react-router-dom' {
  import type { AnchorHTMLAttributes, FC } from 'react';

  export const Link: FC<AnchorHTMLAttributes<HTMLAnchorElement> & { to: string }>;
  export function useNavigate(): (to: string, options?: { replace?: boolean }) => void;
  export function useLocation(): { pathname: string; search: string };
}
