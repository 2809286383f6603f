#include "trainer/config/nesting.h"

#include <gtest/gtest.h>

namespace moe {
namespace {

TEST(Nesting, CountsMessagesAndLists) {
  EXPECT_EQ(NestingDepth(""), 0);
  EXPECT_EQ(NestingDepth("a: 1"), 0);
  EXPECT_EQ(NestingDepth("a {} b { c < d: [1, 2] > } e {}"), 3);
  EXPECT_EQ(NestingDepth("a {{{"), 3);
}

TEST(Nesting, StringsAndCommentsHoldNone) {
  EXPECT_EQ(NestingDepth("a: \"{{{\" # {{{\nb {}"), 1);
  EXPECT_EQ(NestingDepth("a: '\\'{{' b: \"\\\\\" c {}"), 1);
  // What closes there closes nothing.
  EXPECT_EQ(NestingDepth("a { b: '}' # }\nc {"), 2);
}

// As the parser sees it: it goes on behind the end of the line.
TEST(Nesting, AStringEndsWithItsLine) {
  EXPECT_EQ(NestingDepth("a: \"b\nc {"), 1);
  EXPECT_EQ(NestingDepth("a: \"b\\\nc {"), 1);
}

TEST(Nesting, WhatClosesTooOftenHidesNothing) {
  EXPECT_EQ(NestingDepth("}}}} a { b {"), 2);
}

}  // namespace
}  // namespace moe
