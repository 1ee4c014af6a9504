"""Reading configuration files, the environment and data packages. The only room that looks at os.environ."""
