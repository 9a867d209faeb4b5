# Reads line coverage (lcov) and prints what is covered of each file and of all, without the tests at
# the end of each file and without files that are tests.

/^SF:/ {
  file = $2
  is_test = file ~ /(tests|test_keys|fixture|trial)\.rs$/
  tests_begin = 1e9
  for (number = 1; (getline line < file) > 0; number++)
    if (line ~ /^mod tests/) { tests_begin = number; break }
  close(file)
  sub(/.*\/src\//, "src/", file)
}

/^DA:/ && !is_test && $2 < tests_begin {
  lines[file]++
  total++
  if ($3 > 0) { covered[file]++; total_covered++ }
  else missed[file] = missed[file] " " $2
}

END {
  for (file in lines)
    printf "%6.1f %%  %-32s%s\n", 100 * covered[file] / lines[file], file, missed[file] | "sort -n"
  close("sort -n")
  printf "%6.1f %%  of %d lines of the core\n", 100 * total_covered / total, total
}
