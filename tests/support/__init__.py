"""What the tests share: values, small projects, servers, callers of the sandbox. Nothing here is a test."""
