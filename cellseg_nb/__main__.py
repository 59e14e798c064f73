from cellseg_nb.cli import main

raise SystemExit(main())
