from actrec.cli.main import main

main()
