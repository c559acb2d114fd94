from reread.cli import main

main()
