# The King James Bible as `bible -f 'Gen1:1-Rev22:21'` prints it, a verse a line
# ("Ge1:1 In the beginning ..."), into text to train on: the verses without
# their numbers, a form feed line after each chapter.
{
  chapter = substr($1, 1, index($1, ":") - 1)
  if (NR > 1 && chapter != last) print "\f"
  last = chapter
  print substr($0, length($1) + 2)
}
END {
  if (NR != 31102) {
    print "kjv.awk: " NR " verses came, must be 31102" > "/dev/stderr"
    exit 1
  }
}
