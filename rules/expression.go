package rules

import "cel.dev/cel-go/common/ast"

// Expression returns the rule's condition as CEL checked it, for those who say it in another
// language. References of the AST name the variables, such as "certificate.drift". It must
// not be changed.
func (r Rule) Expression() *ast.AST { return r.condition.ast.NativeRep() }
